"""Which images are segmented whole, and which block by block."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path

from bundle.console import true_or_false
from bundle.data.errors import ImageError
from bundle.data.folder import images
from bundle.data.formats import TIFF, extension, spatial_shape
from bundle.data.item import Item
from bundle.data.stores import advice_to_convert, is_store, stores_in
from bundle.inference.one_image import RequireMemoryd

logger = logging.getLogger(__name__)


class SortedImages:
    """The images to segment in a file, a store or a folder of these.

    Args:
        path: file, store or folder.
        by_blocks: "auto" takes stores, and TIFFs that do not fit into the free memory, block by block; True all stores
            and TIFFs; False only stores. The command line gives it as text.
        require_memory: says which image fits.
        plan, level, pixel_size: as asked for; of images in memory they change nothing, which is said.

    Attributes:
        whole: items of the images that are read whole.
        large: paths of the others.

    Raises:
        FileNotFoundError: when there is nothing readable.
        ValueError: for another ``by_blocks``.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        by_blocks: str | bool,
        require_memory: RequireMemoryd,
        plan: str | bool = False,
        level: int | None = None,
        pixel_size: float | None = None,
    ) -> None:
        always = by_blocks != "auto" and true_or_false(by_blocks, "by_blocks (or auto)")
        path = Path(path)
        stores = stores_in(path)
        self.large = [str(store) for store in stores]
        items = [] if is_store(path) else self._files(path, bool(stores))
        self.whole: list[Item] = []
        for item in items:
            tiff = extension(item["image"]) in TIFF
            if tiff and (always or (by_blocks == "auto" and not self._fits(item, require_memory))):
                self.large.append(item["image"])
            else:
                self.whole.append(item)
        asked = {"by_blocks": always, "plan": true_or_false(plan, "plan")}
        asked |= {"level": level is not None, "pixel_size": pixel_size is not None}
        for option in [name for name, given in asked.items() if given]:
            self._tell_of_memory(option)

    @property
    def sizes(self) -> list[tuple[int, ...]]:
        """Of each image that is read whole, px, as far as its file tells; slices of a stack are an axis."""
        sizes = []
        for item in self.whole:
            with suppress(ImageError):  # whoever reads it says what is wrong
                sizes.append(spatial_shape(item["image"]))
        return sizes

    def _tell_of_memory(self, option: str) -> None:
        """Say that an option does nothing for the images that are read whole, and what would help."""
        for tiff in (True, False):
            if paths := [item["image"] for item in self.whole if (extension(item["image"]) in TIFF) is tiff]:
                more = f" (and {len(paths) - 1} more)" if len(paths) > 1 else ""
                advice = "--by_blocks true takes it by blocks" if tiff else f"convert it, {advice_to_convert(paths[0])}"
                logger.warning("--%s does nothing for %s%s, which goes in memory: %s", option, paths[0], more, advice)

    @staticmethod
    def _files(path: Path, may_be_none: bool) -> list[Item]:
        try:
            return images(path, slices=False, stores=True)
        except FileNotFoundError:
            if may_be_none:
                return []
            raise

    @staticmethod
    def _fits(item: Item, require_memory: RequireMemoryd) -> bool:
        try:
            require_memory({"image": item["image"]})
        except ImageError as error:
            logger.info("%s is segmented block by block: %s", item["image"], error.reason.partition(": ")[0])
            return False
        return True

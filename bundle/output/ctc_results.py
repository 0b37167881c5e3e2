"""Results as the Cell Tracking Challenge wants them: ``NN_RES/maskTTT.tif``, one 16-bit label map a frame."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from monai.transforms import Transform
from monai.utils import ImageMetaKey, TransformBackends, convert_data_type

from bundle.atomic import remove_leftovers, replacing, require_writable
from bundle.data.ctc import RESULT
from bundle.data.formats import stem
from bundle.output.formats import write_tiff
from bundle.output.segmented import meta_of, require_same_size

_logger = logging.getLogger(__name__)

_MOST = np.iinfo(np.uint16).max
_SUFFIX = "_RES"


class ChallengeWriter(Transform):
    """Write the cells of a frame as ``maskTTT.tif``; the last step of a postprocessing chain of dictionary transforms.

    The image ``01/t002.tif`` gives ``<output_dir>/01_RES/mask002.tif``, and ``<output_dir>/mask002.tif`` where the
    name of ``output_dir`` itself ends in ``_RES``: uint16, 0 background, 1..N the cells, a pixel where it is in the
    image. The frame is the number at the end of the image's name, in its digits, but at least 3. Files appear whole
    or not at all; those of an earlier run are replaced.

    Taken are "instances", 1HW integers, the cells, axes (x, y) as MONAI's readers order them, and "image", a MetaTensor
    CHW with ``filename_or_obj`` as they set it.

    Args:
        output_dir: folder of the results; made if absent.

    Raises:
        OSError: at construction when ``output_dir`` cannot be made or written.
        ValueError: at a call for an image without a file name or with a name that ends in no number or in more than
            4 digits, two images of one frame, a stack or volume, a map that is not on the image's grid, with labels
            below 0 or above 65535, or a result that would lie among the images.
        KeyError: at a call when an item is missing.
    """

    backend = [TransformBackends.NUMPY]  # noqa: RUF012 - MONAI's convention

    def __init__(self, output_dir: str | os.PathLike[str]) -> None:
        require_writable(output_dir)
        self.output_dir = Path(output_dir).absolute()  # with its links: its own name may end in _RES
        remove_leftovers(self.output_dir, below=True)
        self._claimed: dict[tuple[Path, int], Path] = {}

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        meta = meta_of(data, "instances")
        source = Path(os.path.abspath(str(meta["filename_or_obj"])))  # not resolved: a link has its own frame
        cells: np.ndarray = convert_data_type(data["instances"], np.ndarray)[0]
        _check(source, meta, cells, tuple(data["image"].shape[1:]))
        target = self._target(source)
        with replacing(target) as part:
            write_tiff(part, cells[0].astype(np.uint16))
        _logger.info("%s -> %s", source, target)
        return dict(data)

    def _target(self, source: Path) -> Path:
        number = re.search(r"\d+$", stem(source))
        if number is None or len(number[0]) > 4:
            raise ValueError(
                f"{source}: the challenge names results by frame, so the name must end in a number of at most 4 "
                "digits, as t002.tif"
            )
        folder = self.output_dir
        if not folder.name.endswith(_SUFFIX):
            folder = folder / f"{source.parent.name}{_SUFFIX}"
        if folder.resolve() in (source.parent.resolve(), source.resolve().parent):
            raise ValueError(f"output_dir {str(folder)!r} is the folder of the images, where masks could replace them")
        earlier = self._claimed.setdefault((folder, int(number[0])), source)
        if earlier != source:
            raise ValueError(f"{earlier} and {source} are both frame {int(number[0])} of {folder}: rename one")
        folder.mkdir(exist_ok=True)
        return folder / f"{RESULT}{number[0].zfill(3)}.tif"


def _check(source: Path, meta: Mapping[str, Any], cells: np.ndarray, size: tuple[int, ...]) -> None:
    if cells.ndim != 3 or cells.shape[0] != 1 or meta.get(ImageMetaKey.PATCH_INDEX) is not None:
        raise ValueError(f"{source}: a frame is one 2D image in a file of its own, got cells of shape {cells.shape}")
    require_same_size(meta, size, cells.shape[1:])
    if cells.size and (cells.min() < 0 or cells.max() > _MOST):
        raise ValueError(
            f"{source}: labels of the challenge's 16-bit masks are 0 to {_MOST}, got {cells.min()} to {cells.max()}"
        )

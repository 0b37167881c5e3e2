"""What was inferred of an image, as the writers of results take it from the items of a postprocessing chain."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from monai.utils import ImageMetaKey, MetaKeys

from bundle.data.spacing import VOXEL_SPACING, stated_sides


@dataclass(frozen=True)
class Segmented:
    """An image and what was found in it, on one grid.

    Attributes:
        path: of its file; not resolved: a link has the name that a person gave it.
        meta: of the MetaTensor that was read.
        image: (C, x, y[, z]), without the channels of neighbouring slices.
        probability: (1, x, y[, z]) of "cell"; of K classes (K, x, y[, z]).
        cells: (x, y[, z]), 0 background, 1 .. N cells.
        names: of the classes, the background's first; empty: there is one kind of cell.
        class_map: (1, x, y[, z]), the class of every pixel; None: there is one kind.
        class_of: (N + 1,), the class of each cell at its number.
        colours: the three channels of the image are red, green and blue.
    """

    path: Path
    meta: Mapping[str, Any]
    image: np.ndarray
    probability: np.ndarray
    cells: np.ndarray
    names: Sequence[str] = ()
    class_map: np.ndarray | None = None
    class_of: np.ndarray | None = None
    colours: bool = False

    @property
    def index(self) -> int | None:
        """The slice of the file that was loaded alone; None: all of it."""
        return self.meta.get(ImageMetaKey.PATCH_INDEX)

    @property
    def volume(self) -> bool:
        """Whether (x, y, z) is one volume, not slices of their own."""
        return VOXEL_SPACING in self.meta

    @property
    def spacing(self) -> list[float] | None:
        """Of a volume, µm along each axis; None where it is not known."""
        noted = np.asarray(self.meta.get(VOXEL_SPACING, np.nan), float).ravel()
        return noted.tolist() if np.isfinite(noted).all() else None

    @cached_property
    def sides(self) -> Sequence[float] | None:
        """Of a pixel, µm; None where they are not known."""
        return self.spacing or stated_sides(self.path)


def meta_of(data: Mapping[Hashable, Any], *keys: str) -> Mapping[str, Any]:
    """The meta data of "image", with the name of its file.

    Raises:
        KeyError: when it or one of the ``keys`` is missing.
        ValueError: for an image without a file name.
    """
    for key in ("image", *keys):
        if key not in data:
            raise KeyError(f"{key!r} is missing; the writer got {sorted(map(str, data))}")
    meta: Mapping[str, Any] = getattr(data["image"], "meta", {})
    if not meta.get("filename_or_obj"):
        raise ValueError("'image' has no filename_or_obj: load it with MONAI's LoadImaged")
    return meta


def require_same_size(meta: Mapping[str, Any], image: tuple[int, ...], found: tuple[int, ...]) -> None:
    """Check that results are still on the grid of the file, or they could not be laid on it.

    Args:
        meta: of the image.
        image, found: spatial size of the image as it is now, and of the results.

    Raises:
        ValueError: naming all sizes.
    """
    on_file = tuple(int(n) for n in meta.get(MetaKeys.SPATIAL_SHAPE, image))
    if not image == found == on_file:
        raise ValueError(
            f"results of {str(meta['filename_or_obj'])!r} have the size {found}, the image here {image} and in the "
            f"file {on_file}: all must be equal, so invert what resized or cropped the image first"
        )

"""A file, or one slice of a stack, into a checked image or label map."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Transform
from monai.utils import TransformBackends

from bundle.data.channels import Channels, are_equal
from bundle.data.errors import ImageError
from bundle.data.formats import PLANAR, extension, is_lossy, require_one_volume
from bundle.data.gray import as_shown, warn_of_extremes
from bundle.data.item import Part
from bundle.data.label_colours import COLOURS_ARE, cells_of_colours
from bundle.data.readers import read_image
from bundle.data.roi import Roi, part_at
from transforms.labels.instances import IGNORE

_LOG = logging.getLogger(__name__)
#: read as; float64 holds every label number exactly
_IMAGE, _LABEL = np.dtype(np.float32), np.dtype(np.float64)


class LoadSlice(Transform):
    """Read an image or a label map, or one slice of a stack, and check its pixels.

    Axes come in MONAI's order: (x, y), the transpose of what numpy-based programs show, for every format alike.

    Args:
        label: read a label map (int32, one channel) instead of an image (float32).
        channels: those of an image, and what they must be; or just what to select, "all", "luminance" or a list of
            numbers. Opacity is no channel.
        spatial_dims: axes the network takes, 2 or 3; None takes what comes.
        roi: the rectangle that is used, see :class:`bundle.data.roi.Roi`; None: all of it.
        label_colours: what a label in colour says: "foreground": all that is not black is cell; "cells": each connected
            region of one colour is a cell of its own; None: such a label is refused.

    Raises:
        ValueError: for other ``channels``, ``spatial_dims``, ``roi`` or ``label_colours``.
    """

    backend = [TransformBackends.TORCH]  # noqa: RUF012 - MONAI's convention

    def __init__(
        self,
        label: bool = False,
        channels: Channels | str | Sequence[int] = "all",
        spatial_dims: int | None = 2,
        roi: str | Sequence[int] | None = None,
        label_colours: str | None = None,
    ) -> None:
        if spatial_dims not in (None, 2, 3):
            raise ValueError(f"spatial_dims must be 2, 3 or None, got {spatial_dims!r}")
        if label_colours is not None and label_colours not in COLOURS_ARE:
            raise ValueError(f"label_colours must be {' or '.join(COLOURS_ARE)}, or null, got {label_colours!r}")
        self.label = label
        self.channels = Channels.of(channels)
        self.spatial_dims = spatial_dims
        self.roi = Roi.of(roi)
        self.label_colours = label_colours

    def __call__(self, path: str, index: Part = None) -> MetaTensor:
        """Read.

        Args:
            path: image file.
            index: page of a stack, or position along the last axis of a volume, from 0; (first, behind the last) for
                several, which stay a volume; None: the whole file.

        Returns:
            shape (C, x, y) or (C, x, y, slices), float32 or, for labels, int32. ``meta`` has MONAI's affine, moved
            to the slice; ``patch_index`` is the first slice, so that ``SaveImage`` names the results of a stack apart.

        Raises:
            UnreadableImageError: for a file that is missing, empty, truncated or no image.
            ImageError: for a shape or number of channels that does not fit, pixels that are not finite, labels
                that are no integers.
        """
        path = str(path)
        array = self._spatial(path, _stored(path, _LABEL if self.label else _IMAGE, index))
        array = array if self.roi is None else self.roi.cut(path, cast(MetaTensor, array))
        if self.label:
            _refuse_lossy(path, array)  # before colours become cells
        array = cast(MetaTensor, self._channels(path, array))
        # MetaTensor all the way: indexing and arithmetic keep its type, which torch's annotations do not know
        # of labels, the numbers count: white as 0 or not
        return cast(MetaTensor, self._integers(path, array) if self.label else as_shown(path, _finite(path, array)))

    def _spatial(self, path: str, array: torch.Tensor) -> torch.Tensor:
        """Drop trailing axes of one slice (NIfTI keeps them), then insist on the number of axes."""
        wanted = self.spatial_dims
        if wanted is None:
            return array
        while array.ndim - 1 > wanted and array.shape[-1] == 1:
            array = array[..., 0]
        if array.ndim - 1 == wanted:
            if wanted == 3:
                require_one_volume(path)
            return array
        shape = tuple(array.shape[1:])
        if wanted == 2 and len(shape) == 3:
            raise ImageError(
                path,
                f"it is a stack of shape {shape} (x, y, slices) where a 2D image is expected; give its item a "
                f'"slice" from 0 to {shape[-1] - 1}, as bundle.data.datalist does, or set spatial_dims to 3',
            )
        told = f"its shape is {shape}, {len(shape)} axes where spatial_dims asks for {wanted}"
        if len(array) > 1:
            told += f"; if its {len(array)} channels are slices, save them so (tifffile: metadata={{'axes': 'ZYX'}})"
        raise ImageError(path, told)

    def _channels(self, path: str, array: torch.Tensor) -> torch.Tensor:
        array = _without_opacity(path, array)
        if not self.label:
            return self.channels.take(path, cast(MetaTensor, array))
        if self.label_colours is not None:
            return cells_of_colours(array, self.label_colours)
        if array.shape[0] > 1 and not are_equal(array):
            raise ImageError(
                path,
                "it is a colour picture, a label map has one channel of cell numbers: say what its colours mean by "
                f"--label_colours {' or '.join(COLOURS_ARE)}, or name a class for each by --class_names",
            )
        return array[:1]

    def _integers(self, path: str, array: torch.Tensor) -> torch.Tensor:
        labels = array.to(torch.int32)
        wrong = torch.as_tensor(labels != array)
        if bool(wrong.any()):
            where = _first(wrong)
            raise ImageError(
                path,
                f"a label map holds whole numbers below 2^31, but {int(wrong.sum())} of its pixels do not, first "
                f"{float(array[where]):g} at {where} (channel, x, y)",
            )
        if int(labels.min()) < IGNORE:
            raise ImageError(
                path, f"its smallest label is {int(labels.min())}; allowed are {IGNORE} (not annotated), 0, 1, 2, ..."
            )
        return labels


def _refuse_lossy(path: str, labels: torch.Tensor) -> None:
    """Compression invents numbers around every edge, each of which would count as a cell."""
    if is_lossy(path) and len(torch.unique(labels)) > 2:
        raise ImageError(  # the same for all such files, which can be told at once
            path,
            "JPEG has changed its label numbers and made new ones; save labels as PNG or TIFF (a black and white mask "
            "is rescued by a threshold at half of its maximum)",
        )


def gray_values(path: str, index: Part = None) -> torch.Tensor:
    """Every channel of an image, or of one slice of it, that :class:`LoadSlice` has read before, as its file has them.

    Returns:
        shape (C, x, y[, slices]), float32; without opacity, and one channel where all are equal.
    """
    array = _without_opacity(path, _stored(path, _IMAGE, index))
    return as_shown(path, cast(MetaTensor, array[:1] if are_equal(array) else array))


def _without_opacity(path: str, array: torch.Tensor) -> torch.Tensor:
    """TiffReader knows opacity when it sees it; other formats have it as the fourth of four channels."""
    return array[:3] if array.shape[0] == 4 and extension(path) in PLANAR else array


def _stored(path: str, dtype: np.dtype, index: Part) -> MetaTensor:
    """What a file, or a part of it, holds, without the axis of time that NIfTI puts between space and channels."""
    array = read_image(path, dtype, keep=index is not None)
    while array.ndim > 4 and array.shape[-1] == 1:
        array = cast(MetaTensor, array[..., 0])
    if array.ndim > 4:
        raise ImageError(
            path, f"it has {array.ndim} axes, {tuple(array.shape)} from its channels on: save each time point by itself"
        )
    return array if index is None else _take(path, array, index)


def _take(path: str, array: MetaTensor, index: int | tuple[int, int]) -> MetaTensor:
    """One slice of (C, x, y, slices), or a range of them, with its affine moved there."""
    count = array.shape[-1] if array.ndim == 4 else 1
    first, last = (index, index) if isinstance(index, int) else (index[0], index[1] - 1)
    if not 0 <= first <= last < count:
        raise ImageError(path, f"it has no slice {last if first >= 0 else first}: its slices are 0 to {count - 1}")
    if array.ndim < 4:
        return cast(MetaTensor, array.clone())
    taken = index if isinstance(index, int) else slice(*index)
    part = part_at((0, 0, first), array.as_tensor()[..., taken], array)
    part.meta["patch_index"] = first
    return part


def _finite(path: str, image: MetaTensor) -> MetaTensor:
    bad = ~torch.isfinite(image)
    if bool(bad.any()):
        raise ImageError(
            path, f"{int(bad.sum())} of its pixels are NaN or infinite, first at {_first(bad)} (channel, x, y)"
        )
    for number, channel in enumerate(image):
        if float(channel.min()) == float(channel.max()):
            which = f"channel {number}: " if len(image) > 1 else ""
            _LOG.warning("%s: %sall its pixels are %g", path, which, float(channel.min()))
    warn_of_extremes(path, image)
    return image


def _first(mask: torch.Tensor) -> tuple[int, ...]:
    return tuple(torch.nonzero(mask)[0].tolist())

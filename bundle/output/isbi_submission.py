"""Results as the ISBI 2012 challenge wants them: one 32-bit stack of all slices in order."""

from __future__ import annotations

import logging
import os
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import tifffile
from monai.transforms import Transform
from monai.utils import TransformBackends, convert_data_type

from bundle.atomic import remove_leftovers, replacing, require_writable
from bundle.data.context import own_channels
from bundle.output.formats import write_png
from bundle.output.overlay import as_bytes, overlay, stretch
from bundle.output.segmented import meta_of

_logger = logging.getLogger(__name__)

#: what 1 means in the stack; the challenge asks for the first
_ONE_IS = ("cell", "membrane")
_KEYS = ("image", "pred", "instances")


class SubmissionWriter(Transform):
    """Write the probability of a stack as ``submission.tif``; the last step of a postprocessing chain.

    The file is an ImageJ stack, float32 and not compressed, with a page for each slice in the order of the images, rows
    and columns as there. The challenge asks for 0 where a pixel is certainly membrane and 1 where it certainly is not
    (https://imagej.net/events/isbi-2012-segmentation-challenge), which is the probability of "cell". The image
    description of the TIFF says which of the two it is.

    Beside it, ``supplement/`` gets the maps of each slice: ``NN_image.png``, ``NN_probability.png`` (gray, white where
    1 is) and ``NN_cells.png``, the cells found outlined on the image. All files appear whole or not at all.

    Taken are "image", a MetaTensor 1HW[D] with ``filename_or_obj`` as MONAI's readers set it, "pred", 1HW[D], the
    probability of "cell", and "instances", 1HW[D] integers, the cells; axes (x, y[, slices]) as the readers order them.

    Args:
        output_dir: folder of the results; made if absent.
        one_is: what 1 means, "cell" as the challenge asks, or "membrane".
        supplement: False writes the stack alone.

    Raises:
        OSError: at construction when ``output_dir`` cannot be made or written.
        ValueError: at construction for another ``one_is``; at a call for a second stack, probabilities of several
            classes, or one that is not on the image's grid.
    """

    backend = [TransformBackends.NUMPY]  # noqa: RUF012 - MONAI's convention

    def __init__(self, output_dir: str | os.PathLike[str], one_is: str = "cell", supplement: bool = True) -> None:
        if one_is not in _ONE_IS:
            raise ValueError(f"one_is must be {' or '.join(_ONE_IS)}, got {one_is!r}; the challenge asks for cell")
        self.output_dir = require_writable(output_dir)
        remove_leftovers(self.output_dir, below=True)
        self.one_is = one_is
        self.supplement = supplement
        self._source: str | None = None

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        meta = meta_of(data, *_KEYS)
        source = str(meta["filename_or_obj"])
        if self._source not in (None, source):
            raise ValueError(f"a submission is one stack, got {source} after {self._source}: name one file")
        self._source = source
        image, probability, cells = (convert_data_type(data[key], np.ndarray)[0] for key in _KEYS)
        image, probability, cells = map(_pages, (own_channels(image, meta), probability, cells))
        if not len(image) == len(probability) == 1 or not image.shape == probability.shape == cells.shape:
            raise ValueError(
                f"{source}: a submission has the probability of two classes on the grid of a gray image, got shapes "
                f"{probability.shape} and {image.shape} (channels, slices, rows, columns)"
            )
        stack = probability[0].astype(np.float32)
        if self.one_is == "membrane":
            stack = 1 - stack
        other = next(name for name in _ONE_IS if name != self.one_is)
        target = self.output_dir / "submission.tif"
        with replacing(target) as part:
            meaning = {"Info": f"1 is {self.one_is}, 0 is {other}", "min": 0.0, "max": 1.0, "axes": "ZYX"}
            tifffile.imwrite(part, stack, imagej=True, metadata=meaning, photometric="minisblack")
        if self.supplement:
            for index, maps in enumerate(zip(image[0], stack, cells[0], strict=True)):
                self._write_slice(index, *maps)
        _logger.info("%s -> %s: %d slices, 1 is %s, 0 is %s", source, target, len(stack), self.one_is, other)
        return dict(data)

    def _write_slice(self, index: int, image: np.ndarray, shown: np.ndarray, cells: np.ndarray) -> None:
        folder = self.output_dir / "supplement"
        folder.mkdir(exist_ok=True)
        pictures = {"image": as_bytes(stretch(image)), "probability": as_bytes(shown), "cells": overlay(image, cells)}
        for name, picture in pictures.items():
            write_png(folder / f"{index:02d}_{name}.png", picture)


def _pages(array: np.ndarray) -> np.ndarray:
    """(C, x, y[, slices]) as (C, slices, rows, columns)."""
    return np.moveaxis(array if array.ndim == 4 else array[..., None], (3, 2, 1), (1, 2, 3))

"""The probability of one block of a large image, computed tile by tile and written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bundle.geometry import BlockPlan
from bundle.inference.probability import as_stored
from bundle.large.gray import StandardizedImage
from bundle.large.result_store import Spans, spans_to_region

__all__ = ["ProbabilityBlocks", "remove_chunks"]


class ProbabilityBlocks:
    """Blocks of an image, numbered from 0; of a stack of slices, those of the first slice first.

    Args:
        image: in windows.
        plan: of the image, or of each of its slices.
        slices: how many there are where each is an image of its own; None: the plan is that of the whole image.
        run: maps a tile, 1CHW[D], to the probability of "cell", 11HW[D].
        device: on which it runs.
        array: of the result.
        dtype: of :func:`bundle.inference.probability.as_stored`.

    Raises:
        ValueError: when blocks share a chunk of ``array``.
    """

    def __init__(
        self,
        image: StandardizedImage,
        plan: BlockPlan,
        slices: int | None,
        run: Callable[[torch.Tensor], torch.Tensor],
        device: torch.device,
        array: Any,
        dtype: str,
    ) -> None:
        plan.require_own_chunks(tuple(reversed(array.chunks))[: len(plan.plan.image_size)])
        self.image, self.plan, self.slices = image, plan, slices
        self.run, self.device = run, device
        self.array, self.dtype = array, dtype

    def __len__(self) -> int:
        return len(self.plan) * (self.slices or 1)

    def __call__(self, number: int) -> None:
        """Compute a block and write it.

        Raises:
            ImageError: for a part of the image that cannot be read.
            ValueError: when the output of the network does not fit its geometry.
        """
        index, within = divmod(number, len(self.plan))
        block = self.plan[within]
        place = None if self.slices is None else index
        window = self.image.window(block.input, place).to(self.device)
        found = np.empty([stop - start for start, stop in block.output], np.float32)
        for tile in block.tiles:
            piece = window
            for axis, ((start, stop), (first, _)) in enumerate(zip(tile.input, block.input, strict=True), start=2):
                piece = piece.narrow(axis, start - first, stop - start)
            probability = self.run(piece.contiguous())[0, 0]
            crop = tuple(slice(*span) for span in tile.crop)
            inside = zip(tile.output, block.output, strict=True)
            there = tuple(slice(start - first, stop - first) for (start, stop), (first, _) in inside)
            if any(n < part.stop for n, part in zip(probability.shape, crop, strict=True)):
                raise ValueError(
                    f"the network returned {tuple(probability.shape)} px for a tile of {self.plan.plan.tile_size}, of "
                    f"which {crop} are needed: is that another network's geometry?"
                )
            found[there] = probability[crop].float().cpu().numpy()
        spans = block.output if place is None else (*block.output, (index, index + 1))
        stored = as_stored(found, self.dtype)
        remove_chunks(self.array, spans)
        self.array[spans_to_region(spans)] = (stored if place is None else stored[..., None]).T


def remove_chunks(array: Any, spans: Spans) -> None:
    """Delete the chunks of a region of an array on the disk: what a killed process left of them is not to be taken."""
    folder = _folder(array)
    for key in _keys(array, spans):
        (folder / key).unlink(missing_ok=True)


def _folder(array: Any) -> Path:
    folder: Path = array.store.root / array.path
    return folder


def _keys(array: Any, spans: Spans) -> Iterator[str]:
    region = spans_to_region(spans)
    along = [range(part.start // n, -(-part.stop // n)) for part, n in zip(region, array.chunks, strict=True)]
    return (array.metadata.encode_chunk_key(place) for place in product(*along))

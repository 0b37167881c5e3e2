"""The probability of one block of a large image, computed tile by tile and written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from bundle.geometry import BlockPlan, TilePlan, Turn
from bundle.inference.probability import as_stored
from bundle.inference.tta import turned, turned_back
from bundle.large.cells.grid import Plane, inside
from bundle.large.gray import StandardizedImage


class ProbabilityBlocks:
    """Blocks of an image, numbered from 0; of a stack of slices, those of the first slice first.

    Args:
        image: in windows.
        plan: of the image, or of each of its slices.
        slices: how many there are where each is an image of its own; None: the plan is that of the whole image.
        run: maps a tile, 1CHW[D], to the probability of "cell", 11HW[D], or of each class, 1NHW[D]; with several
            ``turns`` to logits.
        device: on which it runs.
        array: of the result.
        dtype: of :func:`bundle.inference.probability.as_stored`.
        turns: see :meth:`bundle.inference.overlap_tile.OverlapTileInferer.turns`; None: the image is not turned.
        read: maps the mean of the turned logits to probabilities.
        class_axis: of the array; None: there is none.

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
        turns: Sequence[tuple[Turn, TilePlan]] | None = None,
        read: Callable[[torch.Tensor], torch.Tensor] | None = None,
        class_axis: int | None = None,
    ) -> None:
        chunks = [n for axis, n in enumerate(array.chunks) if axis != class_axis]
        plan.require_own_chunks(tuple(reversed(chunks))[: len(plan.plan.image_size)])
        self.image, self.plan, self.slices = image, plan, slices
        self.run, self.device = run, device
        self.target, self.dtype = partial(Plane, array, classes=class_axis), dtype
        self.turns, self.read = turns or [(Turn(), plan.plan)], read

    def __len__(self) -> int:
        return len(self.plan) * (self.slices or 1)

    def __call__(self, number: int) -> None:
        """Compute a block and write it.

        Raises:
            ImageError: for a part of the image that cannot be read.
            ValueError: when the output of the network does not fit its geometry.
        """
        index, within = divmod(number, len(self.plan))
        region = self.plan[within].output
        place = None if self.slices is None else index
        # in the order of bundle.inference.tta.averaged
        first, *others = self.turns
        found = self._turned(*first, region, place)
        for other in others:
            found.add_(self._turned(*other, region, place))
        found = found / len(self.turns) if others else found
        found = found if self.read is None or not others else self.read(found)
        target = self.target(place)
        content = as_stored(found[0].float().cpu().numpy(), self.dtype)
        target.write(region, content[0] if target.classes is None else content)

    def _turned(
        self, turn: Turn, plan: TilePlan, region: tuple[tuple[int, int], ...], place: int | None
    ) -> torch.Tensor:
        """What the network makes of a region when the whole image is turned, turned back: 1NHW[D]."""
        size = self.plan.plan.image_size
        there = turn.there(region, size)
        tiles = list(plan.over(there))
        along = zip(*(tile.input for tile in tiles), strict=True)
        read = tuple((min(a for a, _ in spans), max(b for _, b in spans)) for spans in along)
        window = turned(self.image.window(turn.back(read, size), place).to(self.device), turn)
        found: torch.Tensor | None = None
        for tile in tiles:
            output = self.run(window[:, :, *inside(tile.input, read)].contiguous())
            crop = tuple(slice(*span) for span in tile.crop)
            if any(n < part.stop for n, part in zip(output.shape[2:], crop, strict=True)):
                raise ValueError(
                    f"the network returned {tuple(output.shape[2:])} px for a tile of {plan.tile_size}, of which "
                    f"{crop} are needed: is that another network's geometry?"
                )
            if found is None:
                found = output.new_empty((*output.shape[:2], *(stop - start for start, stop in there)))
            found[:, :, *inside(tile.output, there)] = output[:, :, *crop]
        assert found is not None  # a region has at least one tile
        return turned_back(found, turn)

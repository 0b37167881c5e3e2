"""The blocks of an image that is larger than memory: groups of whole tiles, and the chunks in which they are stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from bundle.geometry.tiles import TilePlan

#: px of a block, about, where nobody says: 2048 x 2048
_PIXELS = 2**22
#: px along an axis of a chunk, at most, and at least where an image has several
_CHUNK, _SMALL = 1024, 256


@dataclass(frozen=True)
class Block:
    """One block, in px of the image.

    Attributes:
        input: (start, stop) along every axis of what its tiles read; beyond the image it is mirrored.
        output: (start, stop) along every axis of what it writes; all blocks together write every pixel once.
    """

    input: tuple[tuple[int, int], ...]
    output: tuple[tuple[int, int], ...]


class BlockPlan:
    """The tile plan of a whole image, cut into blocks of whole tiles: what a block gives does not depend on its size.

    Args:
        plan: tiles of the image.
        block_size: px, one for all axes or one an axis: a multiple of the distance of neighbouring tiles, or at least
            the image; None takes blocks of about 4 million px.

    Raises:
        ValueError: for another size, naming the nearest.

    Examples:
        >>> from bundle.geometry import ValidGeometry
        >>> plan = BlockPlan(ValidGeometry(4).plan((1000, 500), 572), 384)
        >>> plan.counts, plan[2].output, plan[2].input, plan.chunk_sizes
        ((3, 2), ((384, 768), (0, 384)), ((292, 864), (-92, 480)), (384, 384))
    """

    def __init__(self, plan: TilePlan, block_size: int | Sequence[int] | None = None) -> None:
        self.plan = plan
        # a single tile along an axis is the only block there
        self.steps = tuple(spans[0][1][1] for spans in plan.spans)
        axes = len(plan.image_size)
        if block_size is None:
            side = _PIXELS ** (1 / axes)
            self.tiles = tuple(max(1, round(side / step)) for step in self.steps)
        else:
            one = isinstance(block_size, int | float | str)  # what is no number is refused with the nearest
            sizes: tuple[int, ...] = (block_size,) * axes if one else tuple(block_size)  # type: ignore[assignment, arg-type]
            if len(sizes) != axes:
                raise ValueError(f"block_size has {len(sizes)} axes {sizes}, the image has {axes} {plan.image_size}")
            along = zip(sizes, self.steps, plan.image_size, strict=True)
            self.tiles = tuple(_tiles(size, step, n, plan) for size, step, n in along)

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of blocks along every axis."""
        return tuple(-(-n // each) for n, each in zip(self.plan.counts, self.tiles, strict=True))

    @property
    def sizes(self) -> tuple[int, ...]:
        """px of a block along every axis; the last one has the rest, which may be a little more."""
        along = zip(self.steps, self.tiles, self.plan.image_size, strict=True)
        return tuple(min(step * each, n) for step, each, n in along)

    @property
    def chunk_sizes(self) -> tuple[int, ...]:
        """px of a stored chunk along every axis: the largest equal parts of a block of at most 1024 px.

        The whole block where they would be small, as those of 1733 px are: a store of tiny chunks is slow.
        """
        return tuple(
            _part(size) if count > 1 else min(size, _CHUNK) for size, count in zip(self.sizes, self.counts, strict=True)
        )

    def require_own_chunks(self, chunks: Sequence[int]) -> None:
        """Check that no two blocks write into one chunk: the last one to do so would undo the other's work.

        Raises:
            ValueError: naming the axis and the nearest chunk.
        """
        for axis, (chunk, size, count) in enumerate(zip(chunks, self.sizes, self.counts, strict=True)):
            if count > 1 and size % chunk:
                near = max(each for each in range(1, min(chunk, size) + 1) if size % each == 0)
                raise ValueError(
                    f"blocks of {size} px share chunks of {chunk} px along axis {axis}, so that one would overwrite "
                    f"what the other wrote: the nearest chunk is {near} px"
                )

    def __len__(self) -> int:
        return prod(self.counts)

    def __getitem__(self, number: int) -> Block:
        if not 0 <= number < len(self):
            raise IndexError(f"block {number} of {len(self)}")
        rest, place = number, []
        for count in reversed(self.counts):
            rest, at = divmod(rest, count)
            place.append(at)
        groups = [
            spans[at * each : (at + 1) * each]
            for spans, each, at in zip(self.plan.spans, self.tiles, reversed(place), strict=True)
        ]
        return Block(*(tuple((group[0][i][0], group[-1][i][1]) for group in groups) for i in (0, 1)))


def _tiles(size: int, step: int, n: int, plan: TilePlan) -> int:
    """Tiles of a block along an axis."""
    if isinstance(size, bool) or not isinstance(size, int) or size < 1 or (size % step and size < n):
        near = max(1, round(size / step) if isinstance(size, int) else 1) * step
        raise ValueError(
            f"block_size must be a multiple of {step} px, the distance of tiles of "
            f"{' x '.join(map(str, plan.tile_size))} px, got {size!r}; the nearest is {near}"
        )
    return -(-size // step)


def _part(size: int) -> int:
    return next((each for each in range(min(size, _CHUNK), _SMALL - 1, -1) if size % each == 0), size)

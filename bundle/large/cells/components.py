"""Connected components of a mask that is larger than memory: labelled block by block, joined across their faces."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
from scipy import ndimage as ndi
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from bundle.large.cells.grid import Grid, Plane, Spans, inside

__all__ = ["Components"]


class Components:
    """The components of a mask.

    In each block the fragments of components are labelled and stored; where two fragments are neighbours across a face,
    an edge or a corner of blocks, they are one component.

    Args:
        grid: blocks of the image.
        mask: gives that of a region.
        connectivity: neighbours, 1 .. the number of axes.
        store: uint32, for the fragments; overwritten.

    Attributes:
        count: of components.
    """

    def __init__(self, grid: Grid, mask: Callable[[Spans], np.ndarray], connectivity: int, store: Plane) -> None:
        self.grid, self.store = grid, store
        self.structure = ndi.generate_binary_structure(len(grid.size), connectivity)
        offsets = [0]
        for spans in grid:
            fragments, count = ndi.label(mask(spans), self.structure)
            store.write(spans, fragments.astype(np.uint32))
            offsets.append(offsets[-1] + count)
        self._offsets = np.array(offsets, np.int64)
        pairs = [each for spans in grid for each in self._across(spans)]
        joined = np.unique(np.concatenate(pairs), axis=0) if pairs else np.zeros((0, 2), np.int64)
        total = offsets[-1]
        graph = coo_array((np.ones(len(joined), bool), (joined[:, 0] - 1, joined[:, 1] - 1)), shape=(total, total))
        found: tuple[int, np.ndarray] = (0, np.zeros(0, np.int64))
        if total:
            found = connected_components(graph, directed=False)
        self.count, of_fragment = found
        #: fragment -> component, 0 of what is in none
        self._table = np.concatenate([[0], of_fragment.astype(np.int64) + 1])

    def read(self, spans: Spans) -> np.ndarray:
        """The component of every pixel of a region, int64, 0 outside the mask."""
        return np.asarray(self._table[self._fragments(spans)])

    def _fragments(self, spans: Spans) -> np.ndarray:
        """Numbers of fragments in the whole image."""
        found = np.zeros([b - a for a, b in spans], np.int64)
        for number, part in self.grid.over(spans):
            local = self.store.read(part).astype(np.int64)
            found[inside(part, spans)] = np.where(local > 0, local + self._offsets[number], 0)
        return found

    def _across(self, spans: Spans) -> list[np.ndarray]:
        """Pairs of fragments, one of this block and one of a block behind it, that are neighbours."""
        pairs = []
        around = self.grid.wider(spans)
        axes = len(spans)
        for axis, ((_, stop), n) in enumerate(zip(spans, self.grid.size, strict=True)):
            if stop == n:
                continue
            slab = tuple((stop - 1, stop + 1) if i == axis else span for i, span in enumerate(around))
            fragments = self._fragments(slab)
            before, behind = fragments.take(0, axis), fragments.take(1, axis)
            for step in product((-1, 0, 1), repeat=axes - 1):
                if not self.structure[tuple(1 + each for each in (*step[:axis], 1, *step[axis:]))]:
                    continue
                here = tuple(slice(max(0, -each), n - max(0, each)) for each, n in zip(step, before.shape, strict=True))
                there = tuple(
                    slice(max(0, each), n - max(0, -each)) for each, n in zip(step, before.shape, strict=True)
                )
                one, other = before[here], behind[there]
                both = (one > 0) & (other > 0)
                if both.any():
                    pairs.append(np.unique(np.stack([one[both], other[both]], axis=1), axis=0))
        return pairs

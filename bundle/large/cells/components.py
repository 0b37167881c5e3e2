"""Connected components of a mask that is larger than memory: labelled block by block, joined across their faces."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
from scipy import ndimage as ndi
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from bundle.cells.strips import beside
from bundle.large.cells.grid import Grid, Plane, Spans, inside
from bundle.large.cells.numbered import Numbered


class Components:
    """The components of a mask.

    In each block the fragments of components are labelled and stored; where two fragments are neighbours across a face,
    an edge or a corner of blocks, they are one component. Its number is that of its first fragment; only fragments at
    faces are in memory.

    Args:
        grid: blocks of the image.
        mask: gives that of a region.
        connectivity: neighbours, 1 .. the number of axes.
        store: for the fragments, numbered in each block from 1; overwritten.

    Attributes:
        highest: number of a fragment.
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
        self.highest = offsets[-1]
        #: fragments that are joined to others, in order, and the first fragment of the component of each
        self._joined = self._first = np.zeros(0, np.int64)
        pairs = [each for spans in grid for each in self._across(spans)]
        if pairs:
            self._joined, ends = np.unique(np.concatenate(pairs), return_inverse=True)
            ends, total = ends.reshape(-1, 2), len(self._joined)
            graph = coo_array((np.ones(len(ends), bool), tuple(ends.T)), shape=(total, total))
            count, of_fragment = connected_components(graph, directed=False)
            first = np.full(count, self.highest + 1, np.int64)
            np.minimum.at(first, of_fragment, self._joined)
            self._first = first[of_fragment]

    def read(self, spans: Spans) -> Numbered:
        """The component of every px of a region, 0 outside the mask."""
        places = np.zeros([b - a for a, b in spans], np.int32)
        numbers = [np.zeros(1, np.int64)]
        before = 0
        for number, part in self.grid.over(spans):
            fragments = self.store.read(part).astype(np.int32)
            places[inside(part, spans)] = np.where(fragments > 0, fragments + before, 0)
            low, high = self._offsets[number : number + 2] + 1
            own = np.arange(low, high)
            here = slice(*np.searchsorted(self._joined, (low, high)))
            own[self._joined[here] - low] = self._first[here]
            numbers.append(own)
            before += len(own)
        return Numbered(places, np.concatenate(numbers))

    def _across(self, spans: Spans) -> list[np.ndarray]:
        """Pairs of fragments, one of this block and one of a block behind it, that are neighbours."""
        pairs = []
        around = self.grid.wider(spans)
        axes = len(spans)
        for axis, ((_, stop), n) in enumerate(zip(spans, self.grid.size, strict=True)):
            if stop == n:
                continue
            slab = tuple((stop - 1, stop + 1) if i == axis else span for i, span in enumerate(around))
            fragments = self.read(slab).whole()
            before, behind = fragments.take(0, axis), fragments.take(1, axis)
            for step in product((-1, 0, 1), repeat=axes - 1):
                if not self.structure[tuple(1 + each for each in (*step[:axis], 1, *step[axis:]))]:
                    continue
                here, there = beside(before.shape, step)
                one, other = before[here], behind[there]
                both = (one > 0) & (other > 0)
                if both.any():
                    pairs.append(np.unique(np.stack([one[both], other[both]], axis=1), axis=0))
        return pairs

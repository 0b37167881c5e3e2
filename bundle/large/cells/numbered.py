"""Numbers of cells in a region, in little memory whatever the numbers are."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bundle.cells.strips import counts, first_pixels, strips


@dataclass(frozen=True)
class Numbered:
    """An image of numbers as places in a table.

    Attributes:
        places: int32, of every px; 0 where there is no cell.
        numbers: int64, the number at each place, that of the first 0; several places may have the same.
    """

    places: np.ndarray
    numbers: np.ndarray

    def whole(self) -> np.ndarray:
        """The number of every px, int64."""
        return np.asarray(self.numbers[self.places])

    def called(self, numbers: np.ndarray) -> Numbered:
        """The same with other numbers at the places."""
        return replace(self, numbers=numbers)

    def counts(self) -> np.ndarray:
        """px at each place."""
        return counts(self.places, len(self.numbers) - 1)

    def first(self) -> np.ndarray:
        """The first px of each place in row-major order, -1 of those without any."""
        return first_pixels(self.places, len(self.numbers) - 1)

    def sums(self, weights: np.ndarray) -> np.ndarray:
        """The sum of weights at each place, int64; of whole numbers below 2^53 it is exact.

        Args:
            weights: broadcast to the px.
        """
        found = np.zeros(len(self.numbers), np.int64)
        weights = np.broadcast_to(weights, self.places.shape)
        for rows, _ in strips(self.places.shape):
            some = np.bincount(self.places[rows].ravel(), weights[rows].ravel(), minlength=len(found))
            found += some.astype(np.int64)
        return found


def compact(numbers: np.ndarray) -> Numbered:
    """Of an image of whole numbers."""
    flat = numbers.ravel()
    # a cell is a few runs along each row: far fewer to sort than px
    starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    there, places = np.unique(flat[starts], return_inverse=True)
    none = np.zeros(0 if there[0] == 0 else 1, np.int64)
    of_px = np.repeat((places + len(none)).astype(np.int32), np.diff(starts, append=flat.size))
    return Numbered(of_px.reshape(numbers.shape), np.concatenate([none, there.astype(np.int64)]))

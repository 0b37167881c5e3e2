"""A cell's number in the layer says its class and its colour.

The numbers from 1 on are parted into periods of as many as there are colours: some shades for each class, and last the
one for pixels that nobody annotated. So a new cell is a new number of its class, napari's undo takes a change of class
back, and no table beside the pixels can disagree with them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: Okabe and Ito (2008), told apart with any kind of colour vision; the first classes get those that differ most
_HUES = ("#56b4e9", "#e69f00", "#0072b2", "#f0e442", "#009e73", "#cc79a7")
#: seen on dark and on bright images, and far from all of them
NOT_ANNOTATED_COLOUR = "#aa0000"
#: parts of white that are mixed into the hue of a class
_SHADES = (0.0, 0.35, 0.6)
#: beyond it a table of all numbers would take more memory than sorting them
_TABLE = 1 << 26


class Numbering:
    """Numbers of cells for the classes of a network.

    Args:
        classes: their names, the background's first.

    Attributes:
        names: of the classes but the background, whose numbers are 1, 2, ...
        period: colours that repeat; also the number of pixels that nobody annotated.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.names = tuple(classes[1:])
        self._shades = len(_HUES) if len(self.names) == 1 else len(_SHADES)
        self.period = len(self.names) * self._shades + 1

    @property
    def not_annotated(self) -> int:
        return self.period

    def colours(self) -> np.ndarray:
        """RGBA 0 .. 1 of the numbers 0 to ``period``."""
        if len(self.names) == 1:
            shades = [_rgb(hue) for hue in _HUES]
        else:
            hues = [_rgb(_HUES[number % len(_HUES)]) for number in range(len(self.names))]
            shades = [hue + white * (1 - hue) for hue in hues for white in _SHADES]
        rgb = np.array([np.zeros(3), *shades, _rgb(NOT_ANNOTATED_COLOUR)])
        return np.column_stack([rgb, [0, *[1] * self.period]]).astype(np.float32)

    def class_of(self, numbers: np.ndarray) -> np.ndarray:
        """1, 2, ...; 0 of the background, -1 of what nobody annotated."""
        place = (np.asarray(numbers) - 1) % self.period
        kinds = np.where(place == self.period - 1, -1, place // self._shades + 1)
        return np.where(np.asarray(numbers) == 0, 0, kinds)

    def number(self, kind: int, index: int) -> int:
        """That of the cell ``index`` = 0, 1, ... of a class."""
        return index // self._shades * self.period + (kind - 1) * self._shades + index % self._shades + 1

    def fresh(self, used: int, kind: int) -> int:
        """The first number of a class above ``used``."""
        index = max(0, used - 1) // self.period * self._shades
        while self.number(kind, index) <= used:
            index += 1
        return self.number(kind, index)

    def encode(self, cells: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Numbers in the layer, int32, of cells as the server gives them (-1, 0, 1..N), and the class of each."""
        table = np.zeros(len(classes) + 1, np.int32)  # its last is that of -1
        table[-1] = self.not_annotated
        for kind in range(1, len(self.names) + 1):
            members = np.flatnonzero(classes == kind)
            table[members] = [self.number(kind, index) for index in range(len(members))]
        return table[cells]

    def decode(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cells 1..N without gaps, 0 and -1, int32; and the class of each, at its number."""
        largest = int(numbers.max(initial=0))
        if numbers.min(initial=0) >= 0 and largest < _TABLE:
            seen = np.zeros(largest + 1, bool)
            seen[numbers.ravel()] = True
            present = np.flatnonzero(seen)
            table = np.zeros(largest + 1, np.int32)
            kinds = self.class_of(present)
            table[present] = np.where(kinds > 0, np.cumsum(kinds > 0), np.minimum(kinds, 0))
            return table[numbers], np.concatenate([[0], kinds[kinds > 0]])
        present, where = np.unique(numbers, return_inverse=True)
        kinds = self.class_of(present)
        told = np.where(kinds > 0, np.cumsum(kinds > 0), np.minimum(kinds, 0)).astype(np.int32)
        return told[where].reshape(numbers.shape), np.concatenate([[0], kinds[kinds > 0]])


def _rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])

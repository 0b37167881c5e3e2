"""From the probabilities of several classes to a class map, and to cells with a class each."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import TransformBackends, convert_data_type, convert_to_dst_type
from scipy import ndimage as ndi

from bundle.cells.instances import probability_to_instances
from bundle.cells.options import CellOptions
from bundle.console import did_you_mean


def own_probability(probability: np.ndarray, number: int) -> np.ndarray:
    """The probability of a class where no other class but the background is likelier, 0 elsewhere.

    Args:
        probability: KHW[D], channel 0 the background.
        number: of the class, 1 .. K - 1; of two equal ones the first counts as likelier.

    Returns:
        HW[D].
    """
    return np.asarray(np.where(probability[1:].argmax(axis=0) == number - 1, probability[number], 0))


def cells_of_each_class(probability: np.ndarray, options: Sequence[CellOptions]) -> tuple[np.ndarray, np.ndarray]:
    """Cells of every class by the class's own probability.

    A pixel takes part for the likeliest class beside the background, which must reach that class's threshold. Where
    holes are filled, cells extended or gaps closed, a cell takes only pixels that are no other class's cell.

    Args:
        probability: KHW[D], channel 0 the background.
        options: one of each class but the background, see :func:`bundle.cells.probability_to_instances`.

    Returns:
        HW[D] int32 cells 1..N in the order of the classes, and the class of each at its number, int64 (N + 1,).

    Raises:
        ValueError: as there, and for another number of ``options``.
    """
    if len(options) != len(probability) - 1:
        raise ValueError(f"options must be {len(probability) - 1}, one of each class but the first, got {len(options)}")
    found = np.zeros(probability.shape[1:], np.int32)
    beyond: list[tuple[np.ndarray, int]] = []
    table = [0]
    for number, option in enumerate(options, 1):
        own = own_probability(probability, number)
        cells = probability_to_instances(own, option)
        first = len(table) - 1
        found[(cells > 0) & (own > 0)] = cells[(cells > 0) & (own > 0)] + first
        beyond.append((np.where(own > 0, 0, cells), first))
        table += [number] * int(cells.max())
    for cells, first in beyond:
        free = (cells > 0) & (found == 0)
        found[free] = cells[free] + first
    return found, np.array(table, np.int64)


def likeliest_classes(cells: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """The class of the highest mean probability in each cell, the background's apart.

    Sums are of whole multiples of 2^-24, so that no order of adding matters: cells found block by block get the same.

    Args:
        cells: HW[D] whole numbers, 0 background, 1..N cells.
        probability: KHW[D], channel 0 the background.

    Returns:
        int64 (N + 1,), 0 at 0.
    """
    numbers = np.arange(1, int(cells.max(initial=0)) + 1)
    parts = (np.rint(channel * np.float64(2**24)) for channel in probability[1:])
    sums = np.array([ndi.sum_labels(channel, cells, numbers) for channel in parts])
    return np.concatenate([[0], 1 + sums.argmax(axis=0)]).astype(np.int64)


def options_of_classes(
    names: Sequence[str],
    options: CellOptions | None = None,
    options_of: Mapping[str, Mapping[str, Any]] | None = None,
    of_pixels: bool = True,
) -> list[CellOptions]:
    """The options of each class but the first: the shared ones, with those that ``options_of`` gives for its name.

    Raises:
        ValueError: for a name that there is not, the background's, or an option that is unknown or out of range; for
            any name where cells are found for all classes together (``of_pixels`` is False).
    """
    given = {str(name).lower(): (name, changes) for name, changes in (options_of or {}).items()}
    if given and not of_pixels:
        raise ValueError(
            f"cells_of is for truth 'classes': cells of all classes are read alike, got {list(options_of or {})}"
        )
    known = {name.lower() for name in names[1:]}
    for lower, (name, _) in given.items():
        if lower not in known:
            raise ValueError(f"cells_of has no class {name!r}: {did_you_mean(name, names[1:])}")
    return [CellOptions.of(options, **dict(given.get(name.lower(), ("", {}))[1])) for name in names[1:]]


def words_of(names: Sequence[str], options: Sequence[CellOptions]) -> str:
    """How cells are read, as ``threshold 0.5, min_size 34``; where classes differ, each by its name.

    Args:
        names: of the classes, the background's first.
        options: of each class but the background, or of all.
    """
    each = [one.words() for one in options]
    return each[0] if len(set(each)) == 1 else "; ".join(map(": ".join, zip(names[1:], each, strict=True)))


class FindClassesd(MapTransform):
    """Classes of pixels and cells, where a network has several.

    "cell_classes" becomes the class of each cell, int64 (N + 1,), "class_map" the likeliest one of every pixel, 1HW[D]
    uint8.

    Args:
        keys: of the probabilities KHW[D], one key.
        instances_key: of the cells, 1HW[D], that were found by all classes together; with ``of_pixels`` they are
            replaced by those of each class.
        cell_class_key: where the class of the cell at every pixel goes, 1HW[D] uint8; None: nowhere.
        names: of the classes; None: there is but one kind of cell, and nothing is done.
        of_pixels: cells are read for each class by itself (:func:`cells_of_each_class`).
        options: how cells are read.
        options_of: single options of single classes by name.

    Raises:
        ValueError: more than one key, or options that are not allowed; on call, another number of channels.
    """

    backend = [TransformBackends.NUMPY]  # noqa: RUF012 - MONAI's convention

    def __init__(
        self,
        keys: KeysCollection = "pred",
        instances_key: str = "instances",
        cell_class_key: str | None = None,
        names: Sequence[str] | None = None,
        of_pixels: bool = True,
        options: CellOptions | None = None,
        options_of: Mapping[str, Mapping[str, Any]] | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if len(self.keys) != 1:
            raise ValueError(f"keys must be one key, that of the probabilities, got {self.keys}")
        self.instances_key, self.cell_class_key = instances_key, cell_class_key
        self.names = names
        self.of_pixels = of_pixels
        self.options = options_of_classes(names or ("", ""), options, options_of if names else None, of_pixels)

    def words(self) -> str:
        """How cells are read: see :func:`words_of`."""
        return words_of(self.names or (), self.options)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        if self.names is None:
            return d
        for key in self.key_iterator(d):
            probability: np.ndarray = convert_data_type(d[key], np.ndarray)[0]
            if len(probability) != len(self.names):
                raise ValueError(
                    f"the network has {len(probability)} channels, the classes are {', '.join(self.names)}: they must "
                    "be as many"
                )
            like = d[self.instances_key]
            if self.of_pixels:
                cells, table = cells_of_each_class(probability, self.options)
                d[self.instances_key] = convert_to_dst_type(cells[None], like, dtype=np.int32)[0]
            else:
                cells = convert_data_type(like, np.ndarray)[0][0]
                table = likeliest_classes(cells, probability)
            d["cell_classes"] = table
            found = {"class_map": probability.argmax(axis=0)}
            if self.cell_class_key is not None:
                found[self.cell_class_key] = table[cells]
            for name, kinds in found.items():
                d[name] = convert_to_dst_type(kinds[None], like, dtype=np.uint8)[0]
        return d

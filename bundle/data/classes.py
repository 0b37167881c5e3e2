"""Classes of objects: their names, the values that stand for them in a label, and which kind of truth a label is."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bundle.console import did_you_mean
from bundle.data.class_values import COLOUR, NOT_ANNOTATED, Values, class_table, is_not_annotated, shown_value
from bundle.data.errors import ImageError
from transforms.labels.instances import IGNORE

#: what a label says: a number for each object; a class for each pixel; the former with a class of each object
KINDS = ("instances", "classes", "instances+classes")
#: the classes of a problem that names none
BINARY = ("background", "cell")
#: in a data set's folder: the names, as ``class_names`` gives them
FILE = "classes.json"
#: beside the folder of the labels: class maps or tables of the same names
CLASS_DIR = "class"


@dataclass(frozen=True)
class Classes:
    """The classes of a data set or a network, the first of which is the background.

    Attributes:
        names: at least two, in the order of the network's channels.
        kind: of the truth, one of :data:`KINDS`; "instances" is the problem of two classes.
        gray, colours: value of a label's pixel -> class; colours as
            :data:`bundle.data.class_values.COLOUR` + 0xRRGGBB. None: the table has
            none of that sort; where both are None, a pixel's value is the number of its class.
    """

    names: tuple[str, ...] = BINARY
    kind: str = "instances"
    gray: Values | None = field(default=None, compare=False)
    colours: Values | None = field(default=None, compare=False)

    @property
    def binary(self) -> bool:
        """Whether there is but one kind of object, without a name."""
        return self.kind == "instances"

    @property
    def of_pixels(self) -> bool:
        """Whether the truth tells classes alone: regions of different classes touch, and none has a number."""
        return self.kind == "classes"

    @property
    def label_kind(self) -> str:
        """What :class:`transforms.LabelToInstances` makes of a label."""
        return "classes" if self.of_pixels else "auto"

    def __len__(self) -> int:
        return len(self.names)

    def number(self, name: str) -> int:
        """The class of a name, whatever its letters' case; -1 for "not annotated".

        Raises:
            ValueError: for a name that there is not, with the nearest.
        """
        if is_not_annotated(name):
            return IGNORE
        found = {known.lower(): number for number, known in enumerate(self.names)}
        asked = name.strip().lower()
        if asked not in found:
            raise ValueError(f"there is no class {name!r}: {did_you_mean(name, self.names)}")
        return found[asked]

    def of_value(self, value: int) -> int:
        """The class that a label's value stands for; -1 for -1.

        Raises:
            ValueError: for a value that no class has.
        """
        number = IGNORE if value == IGNORE else self._class_of(value)
        if number is None:
            raise ValueError(f"the value {shown_value(value)} has no class; {self._known()}")
        return number

    def indices(self, values: np.ndarray, path: str, ignored: int | None = None) -> np.ndarray:
        """The class of every pixel of a label.

        Args:
            values: whole numbers of any shape: gray values, or colours as in ``colours``.
            path: of the file, for messages.
            ignored: value of pixels that nobody annotated, beside :data:`transforms.IGNORE`.

        Returns:
            int32 of the same shape: a class, or :data:`transforms.IGNORE`.

        Raises:
            ImageError: naming the values that no class has.
        """
        present, where, counts = np.unique(values, return_inverse=True, return_counts=True)
        classes = [IGNORE if one in (IGNORE, ignored) else self._class_of(int(one)) for one in present.tolist()]
        unknown = [position for position, number in enumerate(classes) if number is None]
        if unknown:
            told = ", ".join(f"{shown_value(int(present[i]))} ({counts[i]} px)" for i in unknown[:5])
            more = ", ..." if len(unknown) > 5 else ""
            raise ImageError(path, f"its pixels hold values without a class: {told}{more}; {self._known()}")
        return np.array(classes, np.int32)[where].reshape(values.shape)

    def _class_of(self, value: int) -> int | None:
        if self.gray is None and self.colours is None:
            return value if 0 <= value < len(self.names) else None
        if value >= COLOUR:
            return (self.colours or {}).get(value)
        if self.gray is not None and value in self.gray:
            return self.gray[value]
        return (self.colours or {}).get(COLOUR + value * 0x010101)  # a colour picture that is gray all over

    def _known(self) -> str:
        if self.gray is None and self.colours is None:
            listed = ", ".join(f"{number} {name}" for number, name in enumerate(self.names))
            return f"classes are {listed}: name more classes by --class_names, or give a table name -> values"
        table = self.gray if self.gray is not None else self.colours or {}
        names = (*self.names, NOT_ANNOTATED)  # IGNORE is the last
        listed = ", ".join(f"{shown_value(value)} {names[number]}" for value, number in sorted(table.items()))
        return f"class_names knows {listed}, and {IGNORE} not annotated"


def classes_of_data(
    root: object = None,
    truth: str = "auto",
    class_names: Sequence[str] | Mapping[str, Any] | None = None,
    like: Classes | None = None,
) -> Classes:
    """The classes of a data set, as its options, or ``classes.json`` in its folder, name them.

    Args:
        root: folder of the data set; None or one that is not there: the options alone count.
        truth: one of :data:`KINDS`, or "auto": "instances+classes" where the folder has ``class/``, else "classes"
            where classes are named, else "instances".
        class_names: a list, the first one the background; or a table name -> values of the label's pixels, each a
            gray value, a list of gray values, [red, green, blue], or a list of those. "not annotated" names pixels
            that nobody annotated. None: those of ``classes.json``.
        like: of a network that is to be measured or trained on: the data's classes come in its order.

    Raises:
        ValueError: for another ``truth``, names or values that are not allowed, kinds of truth that need names and
            have none, and classes that the network of ``like`` does not have.
    """
    if truth not in ("auto", *KINDS):
        raise ValueError(f"truth must be one of {', '.join(('auto', *KINDS))}, got {truth!r}")
    folder = Path(root) if isinstance(root, (str, os.PathLike)) and root else None
    source, named = "class_names", class_names
    file = folder / FILE if folder is not None else None
    if named is None and truth != "instances" and file is not None and file.is_file():
        source, named = str(file), _read(file)
    if truth == "auto":
        mapped = folder is not None and (folder / CLASS_DIR).is_dir()
        truth = "instances+classes" if mapped else "instances" if named is None else "classes"
    if truth == "instances":
        if class_names is not None:
            raise ValueError('class_names needs truth "classes" or "instances+classes", got "instances"')
        found = Classes()
    elif named is None:
        raise ValueError(
            f"truth {truth!r} needs names of the classes: give --class_names \"['background','nucleus']\", or write "
            f"{file or FILE} with such a list"
        )
    else:
        names, gray, colours = class_table(named, source)
        found = Classes(names, truth, gray, colours)
    return found if like is None else _in_order(found, like)


def _in_order(data: Classes, network: Classes) -> Classes:
    """The data's classes under the numbers that the network has for their names."""
    if network.binary and data.binary:
        return data
    order = {name.lower(): number for number, name in enumerate(network.names)}
    missing = [name for name in data.names if name.lower() not in order]
    if missing or data.names[0].lower() != network.names[0].lower() or network.binary != data.binary:
        raise ValueError(
            f"the data's classes are {', '.join(data.names)}, those of the network {', '.join(network.names)}: each "
            "name must be one of the network's, and the first (background) the same; rename them by --class_names"
        )
    numbers = [order[name.lower()] for name in data.names]

    def moved(table: Values | None) -> Values | None:
        return None if table is None else {v: n if n == IGNORE else numbers[n] for v, n in table.items()}

    gray, colours = moved(data.gray), moved(data.colours)
    if gray is None and colours is None:
        gray = dict(enumerate(numbers))
    return Classes(network.names, data.kind, gray, colours)


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is no JSON ({error}): write a list of names there, or name -> values") from error

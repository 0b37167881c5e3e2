"""The result of a large image: an OME-Zarr with the probability, and the cells as its labels, with pyramids."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bundle.atomic import replacing
from bundle.data.stores.ome_zarr import require_zarr
from bundle.output.class_pictures import class_colours

#: in the attributes of a result: what made it
NOTE = "seamless_unet"
#: px of the smallest level of a pyramid, at most, along x and y
_SMALLEST = 512

Spans = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Layout:
    """How a result is stored.

    Attributes:
        size: px along x, y[, slices].
        slice_axis: "z", "t" or, where there is none, empty.
        spacing: µm along these axes, NaN along one that is not known; None where nobody states it.
        chunks: px of a chunk along these axes.
        dtype: of the probability: "float32", "float16" or "uint8".
        version: of OME-Zarr, "0.4" or "0.5".
        classes: names of the classes whose probabilities are stored, the background's first; empty: that of "cell".
        label_type: of the numbers of cells.
    """

    size: tuple[int, ...]
    slice_axis: str
    spacing: tuple[float, ...] | None
    chunks: tuple[int, ...]
    dtype: str
    version: str
    classes: tuple[str, ...] = ()
    label_type: str = "uint32"

    @property
    def class_axis(self) -> int | None:
        """Where the classes of a stored probability are: behind time, before space."""
        return int(self.slice_axis == "t") if self.classes else None

    @property
    def sizes(self) -> list[tuple[int, ...]]:
        """Of every level; x and y are halved from one to the next."""
        sizes = [self.size]
        while max(sizes[-1][:2]) > _SMALLEST:
            x, y, *rest = sizes[-1]
            sizes.append((-(-x // 2), -(-y // 2), *rest))
        return sizes

    @property
    def bytes(self) -> float:
        """Of all that is written, at most: areas of one number need an eighth of their bits, of the cells and of
        three to five stores while they are searched."""
        pixels = sum(math.prod(size) for size in self.sizes)
        labels = np.dtype(self.label_type).itemsize / 8 * (6 if self.classes else 4)
        return pixels * (np.dtype(self.dtype).itemsize * max(1, len(self.classes)) + labels)


class ResultStore:
    """An OME-Zarr on the disk. Its axes are those of this bundle, (x, y[, slices]), in reverse order.

    Args:
        path: of the store.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.group: Any = require_zarr().open_group(path, mode="r+")

    @classmethod
    def create(cls, path: Path, layout: Layout, note: Mapping[str, Any]) -> ResultStore:
        """A store without pixels; it appears whole, or not at all."""
        with replacing(path) as part:
            group = new_group(part, layout.version)
            group.attrs[NOTE] = dict(note)
            write_levels(group, layout, layout.dtype, "probability", shift=True, classes=len(layout.classes))
            top = np.iinfo(layout.dtype).max if layout.dtype == "uint8" else 1.0
            window = {"start": 0, "end": top, "min": 0, "max": top}
            colours = [f"{r:02X}{g:02X}{b:02X}" for r, g, b in class_colours(len(layout.classes)).astype(int)]
            channels = [
                {"label": f"probability of {name}", "color": colour, "window": window, "active": bool(number)}
                for number, (name, colour) in enumerate(zip(layout.classes, colours, strict=True))
            ]
            one = {"label": "probability of cell", "color": "FFFFFF", "window": window, "active": True}
            _describe(group, layout.version, {"omero": {"channels": channels or [one]}})
        return cls(path)

    @property
    def note(self) -> dict[str, Any]:
        return dict(self.group.attrs.get(NOTE, {}))

    @note.setter
    def note(self, content: Mapping[str, Any]) -> None:
        self.group.attrs[NOTE] = dict(content)

    def levels(self, name: str = "") -> list[Any]:
        """The arrays of a pyramid, largest first; ``name`` is that of a label image."""
        group = self.group[f"labels/{name}"] if name else self.group
        return [group[str(number)] for number in range(len(list(group.array_keys())))]

    def remove_labels(self) -> None:
        shutil.rmtree(self.path / "labels", ignore_errors=True)

    def add_labels(self, layout: Layout, types: Mapping[str, str]) -> None:
        """Empty label images, name -> type of their numbers; their group appears whole, or not at all."""
        with replacing(self.path / "labels") as part:
            group = new_group(part, layout.version)
            _describe(group, layout.version, {"labels": list(types)})
            for name, dtype in types.items():
                image = group.create_group(name)
                write_levels(image, layout, dtype, name, shift=False)
                # viewers choose the colours: ome-zarr-models 1.6 stumbles over an absent list, and napari-ome-zarr
                # shows no cell that a list leaves out
                about: dict[str, Any] = {"source": {"image": "../../"}, "colors": []}
                if layout.version == "0.4":
                    about["version"] = "0.4"
                _describe(image, layout.version, {"image-label": about})
        self.group = require_zarr().open_group(self.path, mode="r+")

    def require_there(self) -> None:
        """
        Raises:
            FileNotFoundError: when the store has gone, as that of a drive that was unplugged.
        """
        if not self.path.is_dir():
            raise FileNotFoundError(f"{self.path} has gone: what is done of it is there when its drive is")


def spans_to_region(spans: Spans) -> tuple[slice, ...]:
    """(start, stop) along x, y[, slices] -> the region of a stored array."""
    return tuple(slice(*span) for span in reversed(spans))


def new_group(path: Path, version: str) -> Any:
    """An empty store of a version of OME-Zarr."""
    return require_zarr().open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)


def _describe(group: Any, version: str, content: Mapping[str, Any]) -> None:
    """Add attributes where this version of OME-Zarr has them."""
    if version == "0.4":
        group.attrs.update(content)
    else:
        group.attrs["ome"] = {"version": version, **group.attrs.get("ome", {}), **content}


def write_levels(group: Any, layout: Layout, dtype: str, name: str, shift: bool, classes: int = 0) -> None:
    """The arrays of a pyramid, empty, and their description.

    Args:
        shift: a pixel of a smaller level is the mean of several, and lies in their middle.
        classes: how many there are on an axis of their own; 0: there is none.
    """
    axes = [*layout.slice_axis, "y", "x"]
    stated = list(zip(axes, reversed(layout.spacing or (math.nan,) * len(axes)), strict=True))
    units = {axis: {"unit": "micrometer"} for axis, um in stated if not math.isnan(um)}
    spacing = [1.0 if math.isnan(um) else um for _, um in stated]
    place = (layout.class_axis or 0) if classes else None
    if place is not None:
        axes.insert(place, "c")
        spacing.insert(place, 1.0)
    datasets = []
    for number, size in enumerate(layout.sizes):
        shape, chunks = list(reversed(size)), list(reversed(layout.chunks))
        if place is not None:
            shape.insert(place, classes)
            chunks.insert(place, 1)
        chunks = [min(a, b) for a, b in zip(chunks, shape, strict=True)]
        named: Any = {"dimension_names": axes} if layout.version != "0.4" else {}
        if layout.version == "0.4":
            named["chunk_key_encoding"] = {"name": "v2", "separator": "/"}
        # a chunk that is not there is one that nobody wrote
        config: Any = {"write_empty_chunks": True}
        group.create_array(str(number), shape=shape, chunks=chunks, dtype=dtype, fill_value=0, config=config, **named)
        factors = [2**number if axis in "xy" else 1 for axis in axes]
        steps: list[dict[str, Any]] = [
            {"type": "scale", "scale": [a * b for a, b in zip(spacing, factors, strict=True)]}
        ]
        if shift and number:
            moved = [a * (b - 1) / 2 for a, b in zip(spacing, factors, strict=True)]
            steps.append({"type": "translation", "translation": moved})
        datasets.append({"path": str(number), "coordinateTransformations": steps})
    kinds = {"t": {"type": "time"}, "c": {"type": "channel"}}
    multiscale: dict[str, Any] = {
        "name": name,
        "axes": [{"name": axis, **kinds.get(axis, {"type": "space", **units.get(axis, {})})} for axis in axes],
        "datasets": datasets,
    }
    if layout.version == "0.4":
        multiscale["version"] = "0.4"
    _describe(group, layout.version, {"multiscales": [multiscale]})

"""OME-Zarr 0.4 and 0.5 on a disk: its levels, and the pixels of one of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from bundle.data.channel_names import COLOURS, StatedChannels
from bundle.data.errors import ImageError, UnreadableImageError, unreadable
from bundle.data.stores.lazy_image import LazyImage, image_spacing

#: what a folder holds that is the root of a Zarr group or array
_ROOTS = ("zarr.json", ".zgroup", ".zarray")
#: µm in the units of OME-Zarr
_UM = {"nanometer": 1e-3, "micrometer": 1.0, "millimeter": 1e3, "centimeter": 1e4, "meter": 1e6, "angstrom": 1e-4}


def is_store(path: Path) -> bool:
    """Whether a folder is a Zarr store."""
    return any((path / name).is_file() for name in _ROOTS)


def stores_in(path: Path) -> list[Path]:
    """The stores in a folder, or the folder itself where it is one."""
    if is_store(path):
        return [path]
    folders = sorted(path.iterdir()) if path.is_dir() else ()
    return [folder for folder in folders if folder.is_dir() and not folder.name.startswith(".") and is_store(folder)]


def store_name(path: Path) -> str:
    """Without ``.zarr`` and ``.ome.zarr``."""
    return path.name.removesuffix(".zarr").removesuffix(".ome")


def require_zarr() -> Any:
    """The package zarr.

    Raises:
        RuntimeError: naming the command that installs it.
    """
    try:
        import zarr
    except ImportError as error:
        raise RuntimeError(
            'images larger than memory need zarr, not installed here: pip install -e ".[large]"'
        ) from error
    return zarr


@dataclass(frozen=True)
class ZarrPixels:
    """The array of one level.

    Args:
        path: of the store.
        name: of the array in it.
        missing: "error": a chunk that is not there cannot be told from one that got lost; "fill": it has the fill
            value that the store declares.
    """

    path: str
    name: str
    array: Any
    axes: str
    missing: str = "error"

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype:
        found: np.dtype = np.dtype(self.array.dtype)
        return found

    @property
    def parts(self) -> tuple[int, ...]:
        return tuple(self.array.shards or self.array.chunks)

    def read(self, region: tuple[slice, ...]) -> np.ndarray:
        """
        Raises:
            UnreadableImageError: for a chunk that is damaged, or missing, unless it has a declared value.
        """
        try:
            found = np.asarray(self.array[region])
        except Exception:
            for file, part in self._files(region):
                with unreadable(self.path, f"{file} cannot be read"):
                    self.array[part]
            raise
        if self.missing == "error" or self.array.metadata.fill_value is None:
            self._require_chunks(region, found)
        return found

    def _files(self, region: tuple[slice, ...]) -> Iterator[tuple[Path, tuple[slice, ...]]]:
        """Each file of a region, and what of the array it holds."""
        along = [range(part.start // n, -(-part.stop // n)) for part, n in zip(region, self.parts, strict=True)]
        for place in product(*along):
            file = Path(self.path) / self.name / self.array.metadata.encode_chunk_key(place)
            yield file, tuple(slice(at * n, (at + 1) * n) for at, n in zip(place, self.parts, strict=True))

    def _require_chunks(self, region: tuple[slice, ...], found: np.ndarray) -> None:
        for file, _ in self._files(region):
            if not file.is_file():
                raise self._lacks(file)
        if self.array.shards:  # a shard does not say which of its chunks it lacks: they read as whatever fills them
            other = self._filled_otherwise()[region]
            if not np.array_equal(found, other):
                at = tuple(int(i[0]) + part.start for i, part in zip(np.nonzero(found != other), region, strict=True))
                raise self._lacks(f"a chunk at {at} ({self.axes}) of {Path(self.path) / self.name}")

    def _filled_otherwise(self) -> Any:
        import zarr

        metadata = self.array.metadata
        value = np.asarray(metadata.fill_value)
        other = value.dtype.type(1 if value == 0 or value != value else 0)
        return zarr.Array(replace(self.array._async_array, metadata=replace(metadata, fill_value=other)))

    def _lacks(self, what: object) -> UnreadableImageError:
        value = self.array.metadata.fill_value
        if value is None:
            return UnreadableImageError(self.path, f"{what} is missing, and no value is declared for it")
        return UnreadableImageError(
            self.path, f"{what} is missing; if it was never written because all its pixels are {value}: --missing fill"
        )

    def identity(self) -> dict[str, object]:
        return {"array": self.name, "shape": list(self.shape), "dtype": str(self.dtype)}


def store_levels(path: Path, missing: str) -> list[LazyImage]:
    """The levels of a store, largest first.

    Raises:
        UnreadableImageError: for a store that is no OME-Zarr image, or damaged.
    """
    zarr = require_zarr()
    with unreadable(path, "it cannot be read as OME-Zarr"):  # whatever strangers wrote
        found = _multiscales(path)
        if found is None:
            raise ImageError(path, "it is Zarr, but no OME-Zarr image (its attributes have no multiscales)")
        folder, attributes = found
        scales = attributes["multiscales"][0]
        axes = _axes(folder, scales)
        pixels = [
            ZarrPixels(str(folder), one["path"], zarr.open_array(folder / one["path"], mode="r"), axes, missing)
            for one in scales["datasets"]
        ]
        for each in pixels:
            if len(each.shape) != len(axes):
                raise ImageError(folder, f"its level {each.name} has {len(each.shape)} axes, its description {axes}")
        stated = _channels(attributes, pixels[0])
        spacings = [_spacing(scales, one) for one in scales["datasets"]]
        return [
            LazyImage(str(path), one, stated, image_spacing(one, um)) for one, um in zip(pixels, spacings, strict=True)
        ]


def _attributes(folder: Path) -> dict[str, Any]:
    new, old = folder / "zarr.json", folder / ".zattrs"
    if new.is_file():
        attributes = json.loads(new.read_text(encoding="utf-8")).get("attributes", {})
        return dict(attributes.get("ome", attributes))
    return dict(json.loads(old.read_text(encoding="utf-8"))) if old.is_file() else {}


def _multiscales(path: Path) -> tuple[Path, dict[str, Any]] | None:
    """The folder of the image and its attributes; of several images in one store (bioformats2raw) there must be one."""
    attributes = _attributes(path)
    if attributes.get("multiscales"):
        return path, attributes
    if "bioformats2raw.layout" not in attributes:
        return None
    series = [folder for folder in sorted(path.iterdir()) if folder.name.isdigit() and is_store(folder)]
    if len(series) != 1:
        names = ", ".join(folder.name for folder in series[:5])
        raise ImageError(path, f"it holds {len(series)} images ({names}): give one of them, such as {path / '0'}")
    inner = _attributes(series[0])
    return (series[0], inner) if inner.get("multiscales") else None


def _axes(folder: Path, scales: Mapping[str, Any]) -> str:
    axes = scales.get("axes") or "tczyx"  # before 0.3 they were always these
    letters = "".join(str(axis["name"] if isinstance(axis, dict) else axis) for axis in axes).upper()
    if set(letters) - set("TCZYX") or len(set(letters)) != len(axes):
        raise ImageError(folder, f"its axes are {', '.join(map(str, axes))}: an image has x, y and at most t, c and z")
    return letters


def _spacing(scales: Mapping[str, Any], dataset: Mapping[str, Any]) -> tuple[float, ...] | None:
    """µm along each stored axis, 1 for those that are no length; None where a length has no unit."""
    axes: Sequence[Any] = scales.get("axes") or []
    factors = np.ones(len(axes))
    for step in (*scales.get("coordinateTransformations", ()), *dataset.get("coordinateTransformations", ())):
        if step.get("type") == "scale":
            factors = factors * np.asarray(step["scale"], float)
    spaces = [isinstance(axis, dict) and axis.get("type") == "space" for axis in axes]
    units = [axis.get("unit") if space else None for axis, space in zip(axes, spaces, strict=True)]
    if not any(spaces) or not all(unit in _UM for unit, space in zip(units, spaces, strict=True) if space):
        return None
    return tuple(float(factor * _UM.get(str(unit), 1.0)) for factor, unit in zip(factors, units, strict=True))


def _channels(attributes: Mapping[str, Any], pixels: ZarrPixels) -> StatedChannels:
    count = pixels.shape[pixels.axes.index("C")] if "C" in pixels.axes else 1
    shown = attributes.get("omero", {}).get("channels", [])
    names = tuple(str(channel.get("label", "")).strip() for channel in shown)
    coloured = tuple(name.lower() for name in names) == COLOURS
    return StatedChannels.called(count, COLOURS if coloured else names)

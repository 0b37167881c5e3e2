"""Opens a folder of results of this bundle's inference: probability, cells and, where it is found, the image."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tifffile
from napari.utils.colormaps import CyclicLabelColormap
from skimage.io import imread

from seamless_annotator.numbering import Numbering

_CELLS, _PROBABILITY, _SUMMARY = "_cells.tif", "_probability.tif", "summary.csv"
#: images of a folder that are opened at once
_MOST = 20
LayerData = tuple[Any, dict[str, Any], str]


def reader_of(path: str | Sequence[str]) -> Callable[[Any], list[LayerData]] | None:
    """A reader for a folder of results, or for one of its label maps or probabilities; None for anything else."""
    first = Path(path if isinstance(path, str) else path[0])
    if first.is_dir():
        return read if any(first.rglob(f"*{_CELLS}")) else None
    return read if _stem(first) else None


def read(path: str | Sequence[str]) -> list[LayerData]:
    """Layers of the images that were segmented, as napari takes them."""
    found: list[LayerData] = []
    for each in map(Path, [path] if isinstance(path, str) else path):
        folder = next((above for above in each.parents if (above / _SUMMARY).is_file()), each.parent)
        folder = each if each.is_dir() else folder
        images = _images(folder)
        for file in sorted(each.rglob(f"*{_CELLS}"))[:_MOST] if each.is_dir() else [each]:
            stem = file.with_name(_stem(file))
            image = images.get(stem.relative_to(folder).as_posix())
            if image is not None and image.is_file():
                found.append((_pixels(image), {"name": stem.name}, "image"))
            probability, cells = (stem.with_name(f"{stem.name}{end}") for end in (_PROBABILITY, _CELLS))
            if probability.is_file():
                found.append((tifffile.imread(probability), _look(f"{stem.name} probability"), "image"))
            if cells.is_file():
                colours = CyclicLabelColormap(colors=Numbering(("background", "cell")).colours()[:-1])
                about = {"name": f"{stem.name} cells", "colormap": colours, "opacity": 0.5}
                found.append((tifffile.imread(cells).astype("int32"), about, "labels"))
    return found


def _stem(file: Path) -> str:
    """Name of the image of a result, "" for another file."""
    return next((file.name[: -len(end)] for end in (_CELLS, _PROBABILITY) if file.name.endswith(end)), "")


def _look(name: str) -> dict[str, Any]:
    return {"name": name, "colormap": "viridis", "opacity": 0.5, "visible": False, "contrast_limits": (0, 1)}


def _images(folder: Path) -> dict[str, Path]:
    """How the names of results begin -> their image, as the summary of the inference says."""
    try:
        with (folder / _SUMMARY).open(newline="", encoding="utf-8") as stream:
            return {row["output"]: folder / row["file"] for row in csv.DictReader(stream)}
    except (OSError, KeyError, TypeError, UnicodeDecodeError):
        return {}


def _pixels(file: Path) -> Any:
    return tifffile.imread(file) if file.suffix.lower() in (".tif", ".tiff") else imread(file)

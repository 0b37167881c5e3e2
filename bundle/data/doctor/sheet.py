"""What is measured of one image and its label, in one reading."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import nibabel
import numpy as np
from scipy import ndimage

from bundle.data.checks import LabelSummary, summary_of
from bundle.data.doctor.edges import Edges, edges_of
from bundle.data.formats import NIFTI, TIFF, extension, itk_header, open_tiff
from bundle.data.item import Item
from bundle.data.same_image import Sketch, sketch_of
from bundle.data.spacing import sides_of, stated_spacing
from bundle.data.stores.window import open_whole
from bundle.data.windows import window_of
from transforms.labels.instances import IGNORE

#: ITK's names of pixel types
_TYPES = {"unsigned_char": "uint8", "unsigned_short": "uint16", "short": "int16", "float": "float32", "char": "int8"}


@dataclass(frozen=True)
class Sheet:
    """One image and its label.

    Attributes:
        item: of the datalist.
        size: px along x, y and, of a volume, slices.
        channels: that the network gets.
        pixel_type: of the file, as "uint16".
        pixel_um: µm along x and y (and z), where the file states them; None: it does not.
        mean, deviation: of the pixels, over all channels.
        sharpness: standard deviation of the Laplacian by that of the image.
        areas: px of every object; ``whole`` tells which of them do not touch an edge of the image.
        touching: objects that touch another one.
        foreground, annotated: share of the annotated pixels that are of objects; share of all that are annotated.
        summary: of the label.
        edges: how the label's edges lie on the image's; None where there are too few of them.
        sketches: of each channel, see :mod:`bundle.data.same_image`; none where there is nothing to compare.
    """

    item: Item
    size: tuple[int, ...]
    channels: int
    pixel_type: str
    pixel_um: tuple[float, ...] | None
    mean: float
    deviation: float
    sharpness: float
    areas: np.ndarray
    whole: np.ndarray
    touching: int
    foreground: float
    annotated: float
    summary: LabelSummary
    edges: Edges | None
    sketches: tuple[Sketch, ...]

    @property
    def name(self) -> str:
        return self.item["name"]

    @property
    def objects(self) -> int:
        return len(self.areas)

    @property
    def diameters(self) -> np.ndarray:
        """px, of a disc (or ball) as large as each object that the image's edge does not cut; of all if it cuts all."""
        return _diameters_of(self.areas[self.whole] if self.whole.any() else self.areas, len(self.size))


def _diameters_of(areas: np.ndarray, axes: int) -> np.ndarray:
    """Equivalent diameters.

    >>> _diameters_of(np.array([314.159]), 2).round(1).tolist()
    [20.0]
    """
    return np.asarray(2 * np.sqrt(areas / np.pi) if axes == 2 else np.cbrt(6 * areas / np.pi))


def measure(item: Item, read: Callable[[Item], Mapping[str, Any]]) -> Sheet:
    """Read an image and its label, and measure both.

    Args:
        read: makes "image" (C, x, y[, z]) and "label" (1, x, y[, z]) of it, instances as
            :class:`transforms.LabelToInstances` numbers them.

    Raises:
        ImageError: as ``read``.
    """
    loaded = read(item)
    image, label = (np.asarray(loaded[key]) for key in ("image", "label"))
    label = label[0]
    gray = image.mean(axis=0, dtype=np.float32)
    deviation = float(gray.std(dtype=np.float64))
    cells = np.maximum(label, 0)
    numbers, areas = np.unique(cells[cells > 0], return_counts=True)
    annotated = label != IGNORE
    flat = label.ndim == 2
    middle = (gray, label) if flat else (gray[..., gray.shape[-1] // 2], label[..., label.shape[-1] // 2])
    return Sheet(
        item=item,
        size=label.shape,
        channels=len(image),
        pixel_type=_pixel_type(item["image"]),
        pixel_um=_pixel_um(item["image"]),
        mean=float(gray.mean(dtype=np.float64)),
        deviation=deviation,
        sharpness=float(ndimage.laplace(gray).std(dtype=np.float64)) / deviation if deviation else 0.0,
        areas=areas,
        whole=~np.isin(numbers, _at_the_edge(cells)),
        touching=len(_touching(cells)),
        foreground=float((label > 0).sum() / max(1, annotated.sum())),
        annotated=float(annotated.mean()),
        summary=summary_of(label),
        edges=edges_of(*middle),
        sketches=tuple(sketch for channel in image if (sketch := sketch_of(channel)) is not None),
    )


def _at_the_edge(cells: np.ndarray) -> np.ndarray:
    """Numbers of the objects on the first or last px along x or y; those of the first and last slice are whole."""
    sides = [cells[0], cells[-1], cells[:, 0], cells[:, -1]]
    return np.unique(np.concatenate([side.ravel() for side in sides]))


def _touching(cells: np.ndarray) -> set[int]:
    """Numbers of the objects of which a px lies beside one of another object."""
    found: set[int] = set()
    for axis in range(cells.ndim):
        along = np.moveaxis(cells, axis, 0)
        one, other = along[1:], along[:-1]
        touch = (one != other) & (one > 0) & (other > 0)
        found.update(np.unique(one[touch]).tolist(), np.unique(other[touch]).tolist())
    return found


@lru_cache(maxsize=4096)  # the slices of a stack ask for the same file
def _pixel_type(path: str) -> str:
    kind = extension(path)
    if (window := window_of(path)) is not None:
        return str(open_whole(window.file).pixels.dtype)
    if kind in TIFF:
        with open_tiff(path) as file:
            return str(file.series[0].dtype)
    if kind in NIFTI:
        header: Any = nibabel.load(path).header
        return str(header.get_data_dtype())
    header = itk_header(path)
    name = str(header.GetComponentTypeAsString(header.GetComponentType()))
    return _TYPES.get(name, name)


@lru_cache(maxsize=4096)
def _pixel_um(path: str) -> tuple[float, ...] | None:
    sides = sides_of(path)
    if sides is None:
        return None
    return tuple((None if window_of(path) else stated_spacing(path)) or sides)

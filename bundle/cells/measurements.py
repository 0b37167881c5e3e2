"""What is measured of every cell of an image: size, shape, place, neighbours, gray values and probability."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from math import prod

import numpy as np
from skimage.measure import regionprops_table

from bundle.cells.shapes import plane_shapes
from bundle.cells.strips import beside, strips

#: of skimage's properties, those of a volume
_ANY = ("label", "area", "centroid", "solidity")
#: how much the sides of a pixel may differ and a length still be one number of µm
_SQUARE = 1e-3


def measure(
    cells: np.ndarray,
    image: np.ndarray | None = None,
    probability: np.ndarray | None = None,
    channels: Sequence[str] = (),
    spacing: Sequence[float] | None = None,
    volume: bool = False,
    class_of: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Columns of a table with a row for each cell, in the order of their numbers.

    Lengths are in px, and in µm where ``spacing`` is known (else NaN). Places count from 0: (0, 0) is the centre of the
    first pixel. A volume has voxels and µm³ instead of areas, and no perimeter, axes,
    eccentricity and angle.

    - ``equivalent_diameter``: of the disc of the same area, or the ball of the same volume,
    - ``perimeter_px``: as skimage estimates it, with diagonal steps,
    - ``major_axis``, ``minor_axis``, ``eccentricity``, ``angle_deg``: of the ellipse of the same second moments;
      the angle from the x axis to its long axis, 0 .. 180, counterclockwise as seen,
    - ``solidity``: share of the convex hull that the cell fills; NaN of a flat cell of a volume,
    - ``touches_border``: 1 where a pixel of it is at the edge of the image (of a volume: also in its first or last
      slice), else 0,
    - ``touching_neighbours``: how many other cells it shares a side or corner of a pixel with.

    Args:
        cells: (x, y) or (x, y, slices), 0 background, 1 .. N cells. Without ``volume`` each slice is a separate image,
            and each number occurs in one slice only.
        image: (C, x, y[, slices]) gray values.
        probability: (1, x, y[, slices]) of "cell", or (K, ...) of K classes.
        channels: names, for the columns ``mean_NAME`` and ``std_NAME``; without them, or with one called
            "probability", ``mean_gray``, or of several ``mean_channel_0`` and so on.
        spacing: µm along each axis of ``cells``, or along x and y.
        volume: (x, y, slices) is one volume.
        class_of: (N + 1,), class of each cell, whose probability counts; None: there is one kind.

    Returns:
        name -> (N,) values: integers, or float64 with NaN for what is not known.
    """
    axes = 3 if volume else 2
    size = None if spacing is None else [float(each) for each in spacing][:axes]
    one = np.nan if size is None else prod(size)
    found = _shapes(cells, volume)
    numbers = found["label"].astype(np.int64)
    table: dict[str, np.ndarray] = {
        "instance": numbers,
        "voxels" if volume else "area_px": found["area"].astype(np.int64),
    }
    if volume:
        table |= {"volume_um3": found["area"] * one}
    table |= {f"{axis}_px": found[f"centroid-{index}"] for index, axis in enumerate("xyz"[:axes])}
    if volume:
        table |= {"equivalent_diameter_um": np.cbrt(6 / np.pi * found["area"] * one)}
    else:
        if cells.ndim == 3:
            table |= {"slice": found["slice"].astype(np.int64)}
        table |= {"area_um2": found["area"] * one}
        table |= _lengths(found, size)
        table |= {"eccentricity": found["eccentricity"], "angle_deg": np.degrees(found["orientation"]) + 90}
    table |= {"solidity": found["solidity"]}
    table |= {"touches_border": _at_border(cells, axes)[numbers].astype(np.int64)}
    table |= {"touching_neighbours": _neighbours(cells, axes)[numbers]}
    measured: dict[str, np.ndarray] = {}
    if image is not None:
        # a channel that is called as the network's map is would share its columns
        named = len(channels) == len(image) and "probability" not in channels
        names = channels if named else [f"channel_{number}" for number in range(len(image))]
        measured |= dict(zip(["gray"] if len(image) == 1 else names, image, strict=True))
    for name, values in measured.items():
        mean, deviation = _gray(cells, values)
        table |= {f"mean_{name}": mean[numbers], f"std_{name}": deviation[numbers]}
    if probability is not None:
        means = np.stack([_gray(cells, each)[0] for each in probability])
        table |= {"mean_probability": means[0 if class_of is None else class_of[numbers], numbers]}
    return table


def _shapes(cells: np.ndarray, volume: bool) -> Mapping[str, np.ndarray]:
    """As skimage has them, for slices one after the other."""
    if volume:
        with warnings.catch_warnings():  # cells that are too thin for a hull, or of one pixel
            warnings.simplefilter("ignore")
            table = regionprops_table(cells, properties=_ANY)
        found = {name: values.astype(np.float64) for name, values in table.items()}
        return found | {"solidity": np.where(np.isfinite(found["solidity"]), found["solidity"], np.nan)}
    parts = []
    for index, plane in enumerate([cells] if cells.ndim == 2 else np.moveaxis(cells, -1, 0)):
        part = plane_shapes(plane)
        parts.append({**part, "slice": np.full(len(part["label"]), float(index))})
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(found["label"], kind="stable")  # of several classes, the numbers do not follow the slices
    return {name: values[order] for name, values in found.items()}


def _lengths(found: Mapping[str, np.ndarray], size: Sequence[float] | None) -> dict[str, np.ndarray]:
    """Of cells in planes, px and µm."""
    unknown = np.full(len(found["area"]), np.nan)
    square = size is not None and max(size) - min(size) <= _SQUARE * max(size)
    disc = 2 * np.sqrt(found["area"] / np.pi)
    table = {"equivalent_diameter_px": disc}
    table |= {"equivalent_diameter_um": unknown if size is None else disc * np.sqrt(prod(size))}
    for name, key in (
        ("perimeter", "perimeter"),
        ("major_axis", "axis_major_length"),
        ("minor_axis", "axis_minor_length"),
    ):
        table |= {f"{name}_px": found[key], f"{name}_um": found[key] * size[0] if size and square else unknown}
    return table


def _at_border(cells: np.ndarray, axes: int) -> np.ndarray:
    touching = np.zeros(int(cells.max(initial=0)) + 1, np.bool_)
    for axis in range(axes):
        for edge in (0, -1):
            touching[np.maximum(cells.take(edge, axis=axis), 0)] = True
    return touching


def _neighbours(cells: np.ndarray, axes: int) -> np.ndarray:
    """(N + 1,): with how many others each one shares a side, an edge or a corner of a pixel."""
    highest = int(cells.max(initial=0))
    pairs = [np.zeros(0, np.int64)]
    steps = [step for step in np.ndindex(*(3,) * axes) if step > (1,) * axes]
    for step in steps:
        way = [each - 1 for each in step] + [0] * (cells.ndim - axes)
        one, other = (cells[region] for region in beside(cells.shape, way))
        for rows, _ in strips(one.shape):
            a, b = one[rows], other[rows]
            there = (a != b) & (a > 0) & (b > 0)
            a, b = a[there].astype(np.int64), b[there]
            pairs.append(np.unique(np.minimum(a, b) * (highest + 1) + np.maximum(a, b)))
    return np.bincount(np.concatenate(np.divmod(np.unique(np.concatenate(pairs)), highest + 1)), minlength=highest + 1)


def _gray(cells: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (divided by the count, not by one less) of each number; NaN where it has none."""
    highest = int(cells.max(initial=0))
    middle = float(values[(0,) * values.ndim]) if values.size else 0.0  # keeps the squares of large values apart
    sums = np.zeros((3, highest + 1))
    for rows, _ in strips(cells.shape):
        inside = np.maximum(cells[rows], 0).ravel()
        pixels = values[rows].ravel().astype(np.float64) - middle
        for row, weights in enumerate((None, pixels, pixels**2)):
            sums[row] += np.bincount(inside, weights, minlength=highest + 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean, square = sums[1] / sums[0], sums[2] / sums[0]
    return mean + middle, np.sqrt(np.maximum(square - mean**2, 0))

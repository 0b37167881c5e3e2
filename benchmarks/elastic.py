"""Elastic deformation, rotation and mirroring of an image, its label and a map of floats."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from math import degrees, pi
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Rand2DElasticd, RandAxisFlipd

from benchmarks.samples import cells
from benchmarks.targets import at_least
from benchmarks.timing import TIMING_COLUMNS, Options, Table, interleave, require, timing_cells
from tests.reference import elastic as reference
from transforms import RandElasticGrid, RandElasticGridd

#: standard deviation of the displacement vectors, px: the paper's
SIGMA = 10.0
#: interpolation of each key
MODES = {"image": "bilinear", "label": "nearest", "weight": "bilinear"}
OURS, MONAI, ELASTICDEFORM = "RandElasticGridd", "Rand2DElasticd, RandAxisFlipd of MONAI", "elasticdeform, order 1"

Sample = Mapping[str, Any]


def monai_elastic(size: int, modes: Mapping[str, str]) -> Rand2DElasticd:
    """MONAI's elastic deformation, vectors as far apart and as large as those of our 3 by 3 grid.

    MONAI draws them uniformly in +- magnitude, which has a standard deviation of magnitude / sqrt(3).
    """
    magnitude = SIGMA * 3**0.5
    return Rand2DElasticd(
        list(modes),
        spacing=((size - 1) / 2,) * 2,
        magnitude_range=(magnitude, magnitude),
        prob=1.0,
        rotate_range=pi,
        mode=list(modes.values()),
        padding_mode="reflection",
    )


def run(options: Options, size: int = 572, count: int = 60) -> Iterator[Table]:
    """One table: ours, MONAI's and, where it is installed, elasticdeform's."""
    _check_against_reference(options.seed)
    label = cells(size, count, options.seed)
    foreground = (label > 0).astype(np.float32)  # image and map are the label's own: all must still agree afterwards
    sample = {
        "image": MetaTensor(torch.from_numpy(foreground)[None]),
        "label": MetaTensor(torch.from_numpy(label)[None]),
        "weight": MetaTensor(torch.from_numpy(1 + 9 * foreground)[None]),
    }
    keys = list(MODES)
    ours = RandElasticGridd(keys, sigma=SIGMA, mode=list(MODES.values()), rotate_range=pi, flip=True)
    stock = Compose([monai_elastic(size, MODES), RandAxisFlipd(keys, prob=0.5)])
    ours.set_random_state(options.seed)
    stock.set_random_state(options.seed)
    warps: dict[str, Callable[[Any], Any]] = {OURS: ours, MONAI: stock}
    if _installed("elasticdeform"):
        warps[ELASTICDEFORM] = partial(_elasticdeform, random=np.random.RandomState(options.seed))
    for name, warp in warps.items():
        _check(name, sample, warp(sample))
    timings = interleave({name: partial(warp, sample) for name, warp in warps.items()}, options.repeats)
    part = "deformation, rotation, flip of 3 arrays"
    targets = [at_least(part, MONAI, timings[MONAI].ratio, 16)]
    rows = [[name, *timing_cells(timing)] for name, timing in timings.items()]
    if ELASTICDEFORM in timings:
        targets.append(at_least(part, ELASTICDEFORM, timings[ELASTICDEFORM].ratio, 9))
    else:
        rows.append([f"{ELASTICDEFORM}: not available here", *[""] * len(TIMING_COLUMNS)])
    title = f"elastic deformation, rotation and flip of image, label and a float map, {size} x {size} px"
    yield Table(title, ("", *TIMING_COLUMNS), rows, targets)


def _installed(package: str) -> bool:
    """Whether a package can be imported: one that was built for another numpy cannot."""
    try:
        importlib.import_module(package)
    except ImportError:
        return False
    return True


def _elasticdeform(sample: Sample, random: np.random.RandomState) -> dict[str, np.ndarray]:
    """The same with elasticdeform, which spans its 3 by 3 vectors with cubic B-splines."""
    import elasticdeform

    size = sample["image"].shape[1:]
    moved = elasticdeform.deform_grid(
        [sample[key][0].numpy() for key in MODES],
        random.normal(0, SIGMA, (len(size), 3, 3)),
        order=[int(mode == "bilinear") for mode in MODES.values()],
        mode="mirror",
        rotate=degrees(random.uniform(-pi, pi)),
    )
    axes = tuple(axis for axis in range(len(size)) if random.rand() < 0.5)
    return {key: np.ascontiguousarray(np.flip(array, axes))[None] for key, array in zip(MODES, moved, strict=True)}


def _check_against_reference(seed: int, size: tuple[int, int] = (41, 57)) -> None:
    """Ours on noise, against the splines and the reading of one pixel at a time."""
    image = np.random.RandomState(seed).rand(1, *size).astype(np.float32)
    warp = RandElasticGrid(sigma=2, rotate_range=pi, flip=True)
    warp.set_random_state(seed)
    fast = {mode: warp(image, mode=mode, randomize=mode == "bilinear")[0] for mode in ("bilinear", "nearest")}
    sampling = warp.sampling
    assert sampling is not None  # just drawn
    assert sampling.displacement is not None
    middle = np.array([(n - 1) / 2 for n in size])
    rows, columns = ((n - 1) // 2 for n in size)
    field = reference.cubic_field(sampling.displacement[:, ::rows, ::columns].astype(float), size)
    require(np.abs(field - sampling.displacement).max() < 1e-3, f"{OURS}: the field is not that of cubic splines")
    slow = {mode: np.empty(size) for mode in fast}
    for pixel in np.ndindex(size):
        position = sampling.centre + sampling.matrix @ (np.array(pixel) - middle + field[(slice(None), *pixel)])
        slow["bilinear"][pixel] = reference.read_linear(image[0], position)
        slow["nearest"][pixel] = reference.read_nearest(image[0], position)
    error = np.abs(fast["bilinear"] - slow["bilinear"]).max()
    require(error < 1e-3, f"{OURS}: linear reading differs from one pixel at a time by {error:.2g}")
    equal = np.mean(fast["nearest"] == slow["nearest"].astype(np.float32))
    require(equal > 0.99, f"{OURS}: nearest reading equals one pixel at a time in {equal:.1%} only")  # ties aside


def _check(name: str, before: Sample, after: Sample) -> None:
    made = {key: np.asarray(after[key]) for key in MODES}
    for key, array in made.items():
        require(array.shape == before[key].shape, f"{name}: {key} became {array.shape}")
        require(not np.array_equal(array, np.asarray(before[key])), f"{name}: {key} did not move")
    known = np.isin(made["label"], np.asarray(before["label"])).all()
    require(known, f"{name}: the label holds numbers that were in no cell")
    for key, threshold in (("image", 0.5), ("weight", 5.5)):
        agree = np.mean((made[key] >= threshold) == (made["label"] > 0))
        require(agree > 0.99, f"{name}: {key} and label agree in {agree:.1%} of the pixels only")

"""Elastic deformation of an image and its label, with and without a rotation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from math import pi

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Rand2DElasticd

from benchmarks.samples import cells
from benchmarks.timing import TIMING_COLUMNS, Options, Table, interleave, require, timing_cells
from transforms import RandElasticGridd

__all__ = ["SIGMA", "monai_elastic", "run"]

#: standard deviation of the displacement vectors, px: the paper's
SIGMA = 10.0
KEYS = ("image", "label")


def monai_elastic(size: int, rotate: float = 0.0) -> Rand2DElasticd:
    """MONAI's elastic deformation, vectors as far apart and as large as those of our 3 by 3 grid.

    MONAI draws them uniformly in +- magnitude, which has a standard deviation of magnitude / sqrt(3).
    """
    magnitude = SIGMA * 3**0.5
    return Rand2DElasticd(
        KEYS,
        spacing=((size - 1) / 2,) * 2,
        magnitude_range=(magnitude, magnitude),
        prob=1.0,
        rotate_range=rotate,
        mode=["bilinear", "nearest"],
        padding_mode="reflection",
    )


def run(options: Options, size: int = 572, count: int = 60) -> Iterator[Table]:
    """One table: ours and MONAI's, alone and with a rotation by any angle."""
    # the image is the label's own foreground: after the deformation both must still agree
    label = cells(size, count)
    sample = {
        "image": MetaTensor(torch.from_numpy((label > 0).astype(np.float32))[None]),
        "label": MetaTensor(torch.from_numpy(label)[None]),
    }
    warps = {
        "RandElasticGridd": RandElasticGridd(KEYS, sigma=SIGMA, mode=["bilinear", "nearest"]),
        "Rand2DElasticd of MONAI": monai_elastic(size),
        "RandElasticGridd, rotation": RandElasticGridd(
            KEYS, sigma=SIGMA, mode=["bilinear", "nearest"], rotate_range=pi
        ),
        "Rand2DElasticd of MONAI, rotation": monai_elastic(size, rotate=pi),
    }
    for name, warp in warps.items():
        warp.set_random_state(0)
        _check(name, sample, warp(sample))
    timings = interleave({name: partial(warp, sample) for name, warp in warps.items()}, options.repeats)
    rows = [[name, *timing_cells(timing)] for name, timing in timings.items()]
    yield Table(f"elastic deformation, image and label of {size} x {size} px", ("", *TIMING_COLUMNS), rows)


def _check(name: str, before: Mapping[str, torch.Tensor], after: Mapping[str, torch.Tensor]) -> None:
    for key in KEYS:
        require(after[key].shape == before[key].shape, f"{name}: {key} became {tuple(after[key].shape)}")
        require(not torch.equal(after[key], before[key]), f"{name}: {key} did not move")
    known = np.isin(np.asarray(after["label"]), np.asarray(before["label"])).all()
    require(known, f"{name}: the label holds numbers that were in no cell")
    agree = ((after["image"] >= 0.5) == (after["label"] > 0)).float().mean().item()
    require(agree > 0.99, f"{name}: image and label agree in {agree:.1%} of the pixels only")

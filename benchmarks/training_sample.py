"""One training sample, from an image in memory to what the network and the loss take."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.transforms import (
    CenterSpatialCropd,
    Compose,
    CopyItemsd,
    Lambdad,
    RandAdjustContrastd,
    RandAxisFlipd,
    ThresholdIntensityd,
)
from skimage.segmentation import find_boundaries

from benchmarks.elastic import monai_elastic
from benchmarks.samples import training_item
from benchmarks.steps import CONFIG, ConfiguredTrainer
from benchmarks.targets import at_least, at_most
from benchmarks.timing import TIMING_COLUMNS, Options, Table, interleave, require, timing_cells, timing_table
from benchmarks.weight_map import stack_and_sort, weights
from bundle.data.dataset import weigh_what_is_kept
from bundle.geometry import ValidGeometry

OURS, STOCK = "the chain of configs/train.json", "stock transforms"
DEPTH = 4


def run(options: Options, size: int = 572, count: int = 60, width: int = 16) -> Iterator[Table]:
    """Both chains as a whole beside a training step of a narrow network in bf16, then the steps of each chain."""
    sample = training_item(size, count, options.seed)
    chains = {OURS: training_chain(size), STOCK: _stock(size)}
    for name, chain in chains.items():
        chain.set_random_state(options.seed)
        _check(name, chain(sample), size)
    step = f"a training step, width {width}, bf16"
    with tempfile.TemporaryDirectory() as folder:
        trainer = ConfiguredTrainer(
            Path(folder), options, tracked=False, base_channels=width, tile_size=size, precision="bf16"
        )
        contenders: dict[str, Callable[[], object]] = {name: partial(chain, sample) for name, chain in chains.items()}
        timings = interleave({**contenders, step: trainer}, options.repeats)
        trainer.close()
    part = f"training sample, {size} px, {count} cells"
    targets = [
        at_least(part, "stock transforms, naive weight map", timings[STOCK].ratio, 15),
        at_most(part, step, 1 / timings[step].ratio, 0.15, percent=True),
    ]
    yield timing_table(f"training sample, {size} x {size} px, {count} cells", timings, targets)
    for name, chain in chains.items():
        yield _steps(name, chain, sample, options.repeats)


def training_chain(size: int) -> Compose:
    """What the config does after loading, for tiles of ``size`` px."""
    config = ConfigParser.load_config_file(CONFIG)
    steps = ("augment", "targets", "crop")
    # the crop asks the network for its geometry: one channel is enough
    parser = ConfigParser({**config, "tile_size": size, "depth": DEPTH, "base_channels": 1})
    transforms = [transform for step in steps for transform in parser.get_parsed_content(step)]
    return Compose(weigh_what_is_kept(transforms))  # as TileDataset has them


def _stock(size: int) -> Compose:
    """The nearest thing from MONAI and scikit-image, with the usual recipe for the weight map."""
    output = ValidGeometry(DEPTH).output_size(size)
    return Compose(
        [
            monai_elastic(size, {"image": "bilinear", "label": "nearest"}),
            RandAxisFlipd(("image", "label"), prob=0.5),
            RandAdjustContrastd("image", prob=1.0, gamma=(0.8, 1.25)),
            Lambdad("label", _without_boundaries),
            CopyItemsd("label", names="weight"),
            Lambdad("weight", _naive_weights),
            ThresholdIntensityd("label", threshold=0.5, above=False, cval=1),
            CenterSpatialCropd(("label", "weight"), output),
        ]
    )


def _without_boundaries(label: torch.Tensor) -> np.ndarray:
    numbers = np.asarray(label).astype(np.int32)
    numbers[0][find_boundaries(numbers[0], mode="inner")] = 0
    return numbers


def _naive_weights(label: np.ndarray) -> np.ndarray:
    return weights(np.asarray(label)[0], stack_and_sort)[None]


def _check(name: str, made: Mapping[str, Any], size: int) -> None:
    output = ValidGeometry(DEPTH).output_size(size)
    for key, side in (("image", size), ("label", output), ("weight", output)):
        require(tuple(made[key].shape) == (1, side, side), f"{name}: {key} became {tuple(made[key].shape)}")
        require(np.isfinite(np.asarray(made[key])).all(), f"{name}: {key} is not finite")
    classes = np.unique(np.asarray(made["label"]))
    require(np.array_equal(classes, [0, 1]), f"{name}: the label holds {classes}, not the classes 0 and 1")
    require(np.asarray(made["weight"]).min() > 0, f"{name}: a pixel that was annotated weighs nothing")


def _steps(name: str, chain: Compose, sample: dict[str, Any], repeats: int) -> Table:
    """Median of each transform on what the one before it made."""
    contenders = {}
    for number, transform in enumerate(chain.transforms, 1):
        contenders[f"{number} {type(transform).__name__}"] = partial(transform, dict(sample))
        sample = transform(dict(sample))
    timings = interleave(contenders, repeats)
    rows = [[step, *timing_cells(timing)[:2]] for step, timing in timings.items()]
    return Table(f"steps of {name}", ("", *TIMING_COLUMNS[:2]), rows)

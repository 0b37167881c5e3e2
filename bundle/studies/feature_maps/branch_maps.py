"""What each branch of a trained DCN says about the tuning images."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from monai.transforms import Compose
from numpy.typing import NDArray

from bundle.data.context import own_channels
from bundle.data.item import Item
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.model import TrainedNetwork
from bundle.networks import DCN
from bundle.output.overlay import shown_channels
from bundle.studies.feature_maps.map_statistics import SUM, MapStatistics, statistics_of
from bundle.studies.trial import Trial


class TuningImage(NamedTuple):
    """A validation image.

    Attributes:
        image: CHW as the network gets it, standardized.
        shown: HW[C] as pictures have it, without neighbouring slices.
        truth: HW integers, 0 background, below 0 not annotated.
    """

    name: str
    image: NDArray[np.float32]
    shown: NDArray[np.float32]
    truth: NDArray[np.int64]
    item: Item


@dataclasses.dataclass(frozen=True)
class TrialMaps:
    """Of one training.

    Attributes:
        kernels: in px, of the three branches.
        maps: name -> for each tuning image HW float16, logit of cell less that of background, less the map's mean
            over the tuning images: only the sum of the branches' offsets means anything.
        statistics: name -> how much the map does. The contrasts of the branches add up to that of their sum.
    """

    trial: Trial
    kernels: tuple[int, ...]
    maps: dict[str, list[NDArray[np.float16]]]
    statistics: dict[str, MapStatistics]


def tuning_images(trial: Trial, count: int) -> list[TuningImage]:
    """The first ``count`` validation images, loaded as the evaluation of ``trial`` loads them.

    Raises:
        ValueError: when the config keeps no validation images, or ``count`` is below 1.
    """
    if count < 1:
        raise ValueError(f"images must be at least 1, got {count}")
    validation = dataclasses.replace(trial, study=dataclasses.replace(trial.study, part="validation"))
    parser = validation.evaluation(trial.study.tta[0]).parser()
    items = parser.get_parsed_content("validate#items")[:count]
    load = Compose([parser.get_parsed_content("find_context"), *parser.get_parsed_content("load")])
    found = []
    for item in items:
        loaded = load(item)
        # (x, y) to rows and columns
        image, truth = (np.asarray(loaded[key]).transpose(0, 2, 1) for key in ("image", "label"))
        image = image.astype(np.float32)
        shown = shown_channels(own_channels(image, loaded["image"].meta))
        found.append(TuningImage(item["name"], image, shown, truth[0].astype(np.int64), item))
    return found


def maps_of(trial: Trial, images: Sequence[TuningImage]) -> TrialMaps:
    """The maps of a training that is complete.

    Raises:
        ValueError: when its network is no DCN with two classes, or was trained on one of the images.
    """
    trained = TrainedNetwork(trial.run.checkpoint)
    trained.require_unseen([image.item for image in images], "validation")
    network = trained.load().eval()
    if not isinstance(network, DCN):
        raise ValueError(f"run {trial.name} has a {type(network).__name__}: only a DCN has a score map for each branch")
    found = [difference_maps(network, image.image) for image in images]
    maps = {name: [each[name] for each in found] for name in found[0]}
    statistics = statistics_of(maps, [image.truth for image in images])
    centred = {name: _centred(own) for name, own in maps.items()}
    return TrialMaps(trial, tuple(trained.card["network"]["kernels"]), centred, statistics)


def _centred(maps: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float16]]:
    mean = np.mean([each.mean(dtype=np.float64) for each in maps])
    return [(each - mean).astype(np.float16) for each in maps]


def difference_maps(network: DCN, image: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Logit of class 1 less that of class 0 in an image CHW, for each branch and their :data:`SUM`, HW.

    Raises:
        ValueError: for another number of classes than 2.
    """
    tensor = torch.from_numpy(np.ascontiguousarray(image.transpose(0, 2, 1)))[None]
    inferer = OverlapTileInferer(geometry=network.geometry)
    scores = inferer(tensor, lambda tile: torch.cat(network.scores(tile), dim=1))[0]
    names = list(network.branches)
    if len(scores) != 2 * len(names):
        raise ValueError(f"the maps of two classes are needed, the network has {len(scores) // len(names)}")
    maps = {name: (scores[2 * k + 1] - scores[2 * k]).numpy().T for k, name in enumerate(names)}
    return {**maps, SUM: sum(maps.values(), np.zeros(image.shape[1:], np.float32))}

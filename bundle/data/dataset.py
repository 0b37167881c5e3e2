"""Random tiles for training, the same ones whatever the number of workers and wherever a run was interrupted."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.data import CacheDataset
from monai.transforms import Compose

from bundle.console import listed
from bundle.data.checks import require_objects
from bundle.data.item import Item
from bundle.geometry.kinds import require_positive
from transforms import CropToOutputd, InstancesToClassd, WeightMapd
from transforms.labels.instances import IGNORE

logger = logging.getLogger(__name__)


class TileDataset(CacheDataset):
    """A fixed number of random samples an epoch, drawn from a few large images.

    Sample ``i`` of epoch ``e`` depends on nothing but ``(seed, e, i)``: its item is entry ``e * samples_per_epoch +
    i`` of an endless chain of shuffles of all items, so that each is used equally often (those without an annotated
    pixel: never), and before its random transforms the whole ``Compose`` is seeded from the three numbers. Hence 0
    and 8 workers, one process and a ``DistributedSampler``, a run and its resumption all see the same samples.

    The transforms before the first random one run once an item, here, as in MONAI's ``CacheDataset``; the random
    ones get a copy. Pixels that :class:`transforms.CropToOutputd` cuts off are not weighed first.

    Args:
        data: datalist.
        transform: from paths to tiles.
        samples_per_epoch: length of the dataset, at least 1; independent of the number of items.
        seed: 0 .. 2^32 - 1.

    Raises:
        ValueError: for an empty ``data`` or another argument out of range; when no label of the items has anything to
            learn, see :func:`bundle.data.checks.require_objects`.
    """

    def __init__(
        self,
        data: Sequence[Item],
        transform: Compose | Sequence[Any],
        samples_per_epoch: int,
        seed: int = 0,
    ) -> None:
        if len(data) == 0:
            raise ValueError("data is an empty datalist: there is nothing to train on")
        require_positive("samples_per_epoch", samples_per_epoch)
        if not isinstance(seed, int) or not 0 <= seed < 2**32:
            raise ValueError(f"seed must be an integer of 0 to 2^32 - 1, got {seed!r}")
        self.samples_per_epoch = samples_per_epoch
        self.seed = seed
        # in shared memory: workers that live through all epochs see it change
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        chain = copy.copy(transform) if isinstance(transform, Compose) else Compose(transform)
        chain.transforms = weigh_what_is_kept(chain.transforms)
        super().__init__(data, chain, progress=False)
        made = [(item["label"], str(data[i]["label"])) for i, item in enumerate(self._cache) if "label" in data[i]]
        require_objects([label for label, _ in made], [file for _, file in made])
        blank = [i for i, item in enumerate(self._cache) if "label" in item and not (item["label"] != IGNORE).any()]
        self._drawn = sorted(set(range(len(data))) - set(blank))
        if blank:
            names = [str(data[i].get("name", data[i]["label"])) for i in blank]
            logger.info("nothing is annotated in %d of %d images, no step is spent on these: %s",
                        len(blank), len(data), listed(names))  # fmt: skip

    def __len__(self) -> int:
        return self.samples_per_epoch

    @property
    def cached(self) -> Sequence[Any]:
        """The items before their first random transform."""
        return tuple(self._cache)

    @property
    def epoch(self) -> int:
        """The epoch whose samples are drawn next."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; call it before the loader's iterator of that epoch is made.

        Raises:
            ValueError: when ``epoch`` is negative.
        """
        if epoch < 0:
            raise ValueError(f"epoch must be at least 0, got {epoch}")
        self._epoch.fill_(epoch)

    def item_of(self, index: int) -> int:
        """Position in ``data`` of the item behind sample ``index`` of the current epoch."""
        shuffle, position = divmod(self.epoch * self.samples_per_epoch + index, len(self._drawn))
        order: np.ndarray = np.random.RandomState(self._state(0, shuffle)).permutation(len(self._drawn))
        return self._drawn[int(order[position])]

    def _transform(self, index: int) -> Any:
        """Called by ``__getitem__`` of MONAI's datasets."""
        index = range(len(self))[index]  # IndexError beyond the end, negative ones from it
        self.transform.set_random_state(seed=self._state(1, self.epoch, index))
        return super()._transform(self.item_of(index))

    def _state(self, purpose: int, *numbers: int) -> int:
        return int(np.random.SeedSequence([self.seed, purpose, *numbers]).generate_state(1)[0])


def weigh_what_is_kept(transforms: Sequence[Any]) -> tuple[Any, ...]:
    """The same transforms, of which a :class:`WeightMapd` leaves out what :class:`CropToOutputd` cuts off at once.

    Only where nothing but :class:`InstancesToClassd` is between the two: what the whole chain makes keeps its bits.
    """
    made = list(transforms)
    for position, transform in enumerate(made):
        after = [each for each in made[position + 1 :] if not isinstance(each, InstancesToClassd)]
        if not isinstance(transform, WeightMapd) or not after or not isinstance(after[0], CropToOutputd):
            continue
        if transform.weight_key in after[0].keys:
            made[position] = transform.within(after[0].crop.inner)
    return tuple(made)

"""The rest of an epoch: the batches of a loader that an interrupted run had not used yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from torch.utils.data import DataLoader


class ResumedLoader:
    """A loader whose first pass begins after ``used`` batches; all later passes are whole.

    The samples of the batches left out are not computed: of a ``DataLoader`` over a map-style dataset only their
    numbers are drawn. What cannot be numbered is iterated.

    Args:
        loader: of whole epochs.
        used: batches that the first pass leaves out.
    """

    def __init__(self, loader: Iterable[Any], used: int) -> None:
        self.loader = loader
        self.used = used

    def __iter__(self) -> Iterator[Any]:
        used, self.used = self.used, 0
        if not used:
            return iter(self.loader)
        if not isinstance(self.loader, DataLoader) or self.loader.batch_sampler is None:
            return islice(self.loader, used, None)
        whole = self.loader
        return iter(
            DataLoader(
                whole.dataset,
                batch_sampler=_Unused(whole.batch_sampler, used),
                num_workers=whole.num_workers,
                collate_fn=whole.collate_fn,
                pin_memory=whole.pin_memory,
                timeout=whole.timeout,
                worker_init_fn=whole.worker_init_fn,
                multiprocessing_context=whole.multiprocessing_context,
                generator=whole.generator,
                prefetch_factor=whole.prefetch_factor,
            )
        )


class _Unused:
    """A batch sampler without its first batches."""

    def __init__(self, batches: Any, used: int) -> None:
        self.batches = batches
        self.used = used

    def __len__(self) -> int:
        return len(self.batches) - self.used

    def __iter__(self) -> Iterator[Any]:
        return islice(self.batches, self.used, None)

"""Batches of tiles whose worker processes do not wait for a validation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from monai.data import DataLoader


class TileLoader(DataLoader):
    """MONAI's ``DataLoader`` over a :class:`bundle.data.dataset.TileDataset`, one epoch ahead of itself.

    With ``persistent_workers``, the workers begin with the samples of the next epoch when the last batch of this one is
    taken: they fill their queues during the last step, the validation and the writing of checkpoints. The samples stay
    the same, for each depends on its epoch's number and nothing else. Without, or with a sampler that draws anew each
    epoch, it is a ``DataLoader``.
    """

    #: the epoch whose first samples are being made already
    _begun: int | None = None

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        if not self.persistent_workers or hasattr(self.sampler, "set_epoch"):
            return super().__iter__()
        return self._ahead()

    def _ahead(self) -> Iterator[Any]:
        dataset: Any = self.dataset
        epoch = dataset.epoch
        # a loader of another epoch drops what it began: that was for one that did not come
        batches = self._iterator if self._begun == epoch and self._iterator is not None else super().__iter__()
        self._begun = None
        for number in range(1, len(self) + 1):
            batch = next(batches)
            if number == len(self):
                dataset.set_epoch(epoch + 1)
                super().__iter__()
                self._begun = epoch + 1
            yield batch

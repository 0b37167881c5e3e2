"""Training on what has been annotated in MONAI Label."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import DefaultLabelTag
from monailabel.tasks.train.bundle import BundleTrainTask

from bundle.data.folder import pages
from label_app.partition import partition
from label_app.store import ignored_value

__all__ = ["TrainTask"]


class TrainTask(BundleTrainTask):
    """The stock training of a bundle, which feeds images and labels, with four things more.

    - Slices of a stack or volume are items of their own.
    - A label's value for pixels that nobody annotated goes with it, see :func:`label_app.store.ignored_value`.
    - What is kept for validation stays there when labels are added, see :func:`label_app.partition.partition`.
    - ``options`` of a request are entries of ``train.json`` by name: ``{"options": {"run_name": "a", "resume": true}}``
      goes on with a run that was interrupted.
    """

    def __call__(self, request: dict, datastore: Any) -> dict:
        options = request.get("options") or {}
        unknown = [name for name in options if name.split("#")[0] not in self.bundle_config.config]
        if unknown:
            raise ValueError(f"options {', '.join(unknown)} are no entries of train.json")
        self._options = dict(options)
        return super().__call__(request, datastore)

    def _fetch_datalist(self, request: dict, datastore: Any) -> list[dict]:
        items = []
        for image_id in datastore.get_labeled_images():
            tag = DefaultLabelTag.FINAL
            label = datastore.get_label_uri(image_id, tag)
            if not label:
                continue  # removed a moment ago
            ignored = ignored_value(datastore.get_label_info(image_id, tag))
            own = {"label": label} if ignored is None else {"label": label, "not_annotated": ignored}
            items += [{**part, **own} for part in pages(Path(datastore.get_image_uri(image_id)))]
        return items

    def _partition_datalist(self, datalist: list[dict], request: dict, shuffle: bool = False) -> Any:
        share = request.get("val_split", 0.2)
        if not 0 < share < 1 or len(datalist) < 2:
            return super()._partition_datalist(datalist, request, shuffle)
        return partition(datalist, share)

    def run_single_gpu(self, request: dict, overrides: dict) -> None:
        # within the server the bundle's logging.conf would silence the server's own errors from then on
        super().run_single_gpu(request, {**overrides, "logging_file": False})

    def _update_overrides(self, overrides: dict) -> dict:
        overrides.update(self._options)
        return overrides

"""Training on what has been annotated in MONAI Label."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import DefaultLabelTag
from monailabel.tasks.train.bundle import BundleTrainTask

from bundle.data.folder import pages
from bundle.data.item import Item
from bundle.model.plain_values import require_values
from label_app.outcome import outcome
from label_app.partition import partition
from label_app.store import CheckedStore, ignored_value, segments_of


class TrainTask(BundleTrainTask):
    """The stock training of a bundle, which feeds images and labels, with seven things more.

    - Slices of a stack or volume are items of their own.
    - A label's value for pixels that nobody annotated goes with it, see :func:`label_app.store.ignored_value`.
    - So do, where there are several classes, the names and values of its segments, :func:`label_app.store.segments_of`.
    - What is kept for validation stays there when labels are added, see :func:`label_app.partition.partition`.
    - ``"pretrained": false`` begins with random weights.
    - ``options`` of a request are entries of ``train.json`` by name: ``{"options": {"run_name": "a", "resume": true}}``
      goes on with a run that was interrupted.
    - The answer says what came out: epochs, the best metric, the run, and which network is in use now.
    """

    def __call__(self, request: dict[str, Any], datastore: Any) -> dict[str, Any]:
        require_values(request)
        if self.bundle_config.config["network_def"].get("spatial_dims") == 3:
            raise ValueError(
                "the network takes volumes, and MONAI Label trains networks of slices: train it on the command line, "
                "with configs/volumes.json"
            )
        options = request.get("options") or {}
        if not isinstance(options, Mapping):
            raise ValueError(f"options must be entries of train.json by name, got {options!r}")
        unknown = [name for name in options if name.split("#")[0] not in self.bundle_config.config]
        if unknown:
            raise ValueError(f"options {', '.join(unknown)} are no entries of train.json")
        self._options = dict(options)
        began = time.time()
        super().__call__(request, datastore)
        return outcome(Path(self.bundle_path), began)

    def _fetch_datalist(self, request: dict[str, Any], datastore: Any) -> list[Item]:
        if not isinstance(datastore, CheckedStore):  # a DICOM server's, whose labels have ids of their own
            return super()._fetch_datalist(request, datastore)
        items: list[Item] = []
        for image_id in datastore.get_labeled_images():
            tag = DefaultLabelTag.FINAL
            label = datastore.get_label_uri(image_id, tag)
            if not label:
                continue  # removed a moment ago
            info, classes = datastore.get_label_info(image_id, tag), datastore.classes()
            ignored = ignored_value(info)
            for item in pages(Path(datastore.get_image_uri(image_id))):
                item["label"] = label
                if ignored is not None:
                    item["not_annotated"] = ignored
                if not classes.binary:
                    item["segments"] = segments_of(info, classes)
                items.append(item)
        return items

    def _partition_datalist(self, datalist: list[Item], request: dict[str, Any], shuffle: bool = False) -> Any:
        share = request.get("val_split", 0.2)
        if not 0 < share < 1 or len(datalist) < 2:
            return super()._partition_datalist(datalist, request, shuffle)
        return partition(datalist, share)

    def run_single_gpu(self, request: dict[str, Any], overrides: dict[str, Any]) -> None:
        # within the server the bundle's logging.conf would silence the server's own errors from then on
        super().run_single_gpu(request, {**overrides, "logging_file": False})

    def _load_checkpoint(self, model_pytorch: str, pretrained: bool, train_handlers: list[Any]) -> None:
        self._pretrained = pretrained
        if pretrained:
            super()._load_checkpoint(model_pytorch, pretrained, train_handlers)

    def _update_overrides(self, overrides: dict[str, Any]) -> dict[str, Any]:
        if not self._pretrained:  # random weights; the stock task ends in an error
            handlers = self.const.key_train_handlers()
            loaders = ("bundle.training.LoadNetwork", "CheckpointLoader")
            overrides[handlers] = [each for each in overrides[handlers] if each.get("_target_") not in loaders]
        overrides.update(self._options)
        return overrides

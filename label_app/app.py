"""MONAI Label's stock app for bundles, extended."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from fastapi import HTTPException
from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp
from monailabel.main import Main

from bundle.model import TrainedNetwork
from bundle.model.plain_values import require_values
from label_app import annotator, home
from label_app.inference import InferTask
from label_app.refusals import as_422
from label_app.store import CheckedStore
from label_app.training import TrainTask
from label_app.uncertainty import MostUncertain, UncertaintyScoring

logger = logging.getLogger(__name__)

#: entries of a request that are names of images, which may begin with anything
_IDS = ("image", "_image_id")


def _stock() -> ModuleType:
    """The module of the stock app ``monaibundle``, which MONAI Label ships as a file and not as a package."""
    file = Path(Main()._get_installed_dir(None, "sample-apps")) / "monaibundle" / "main.py"
    spec = importlib.util.spec_from_file_location("monaibundle_main", file)
    assert spec is not None  # a file ending in .py always has a loader
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# MONAI Label finds an app by the name of its direct base: hence the second one
class LabelApp(_stock().MyApp, MONAILabelApp):  # type: ignore[misc]
    """The stock app with

    - a datastore that refuses labels which could not be trained on (:class:`label_app.store.CheckedStore`),
    - trainings of slices, of partly annotated images, and with options (:class:`label_app.training.TrainTask`),
    - the strategies and scoring methods "epistemic" and "border" (:mod:`label_app.uncertainty`),
    - a page at / that needs nothing from the internet (:mod:`label_app.home`),
    - routes for a client that corrects cells, /annotate/ (:mod:`label_app.annotator`),
    - 404 instead of 500 for a model, strategy or image that does not exist, 422 for an image that cannot be read,
    - inference of all images on a machine without a GPU, and past those that cannot be read,
    - requests of values only: none of their texts reaches a config as an expression.
    """

    def init_datastore(self) -> Any:
        if self.studies.startswith(("http://", "https://")):
            return super().init_datastore()
        store = CheckedStore(
            self.studies,
            extensions=settings.MONAI_LABEL_DATASTORE_FILE_EXT,
            auto_reload=settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD,
            read_only=settings.MONAI_LABEL_DATASTORE_READ_ONLY,
        )
        if self.models:
            model = Path(next(iter(self.models.values()))) / "models" / "model.pt"
            store.classes = lambda: TrainedNetwork(model).classes  # a training may change them
        return store

    def server_mode(self, mode: bool) -> None:
        """Asked once, by the server, when the app is there; with logins MONAI Label's page stays: it shows no names."""
        super().server_mode(mode)
        if mode and not settings.MONAI_LABEL_AUTH_ENABLE:
            from monailabel.app import app as server  # it imports the app in turn

            home.put_first(server, self)
            annotator.put_first(server, self)

    def init_infers(self) -> dict[str, Any]:
        own = {name: InferTask(path, self.conf) for name, path in self.models.items()}
        return {**super().init_infers(), **{name: task for name, task in own.items() if task.is_valid()}}

    def init_trainers(self) -> dict[str, Any]:
        tasks = {name: TrainTask(self.models[name], self.conf) for name in super().init_trainers()}
        return {name: task for name, task in tasks.items() if task.is_valid()}

    def init_strategies(self) -> dict[str, Any]:
        return {
            **super().init_strategies(),
            **{name: MostUncertain(way) for name, way in self._uncertainties().items()},
        }

    def init_scoring_methods(self) -> dict[str, Any]:
        return {**super().init_scoring_methods(), **self._uncertainties()}

    def _uncertainties(self) -> dict[str, UncertaintyScoring]:
        """One scoring method for each kind of uncertainty, of the first model that can segment."""
        tasks = [task for task in self._infers.values() if task.is_valid() and hasattr(task, "bundle_path")]
        return {kind: UncertaintyScoring(kind, tasks[0]) for kind in UncertaintyScoring.KINDS} if tasks else {}

    def infer(self, request: dict[str, Any], datastore: Any = None) -> dict[str, Any]:
        self._require(request.get("model"), self._infers, "model")
        store, image = datastore or self.datastore(), request.get("image")
        if isinstance(image, str) and not Path(image).is_file() and not store.get_image_uri(image):
            raise HTTPException(404, f"image {image!r} is not in the studies; GET /datastore?output=all lists them")
        try:
            require_values({name: value for name, value in request.items() if name not in _IDS}, "params")
        except ValueError as error:
            raise HTTPException(422, str(error)) from error
        with as_422():
            return super().infer(request, datastore)

    def batch_infer(self, request: dict[str, Any], datastore: Any = None) -> dict[str, Any]:
        """One mask for each image; one that cannot be read has its ``error`` in the result and costs no other."""
        if not torch.cuda.is_available():
            request = {**request, "multi_gpu": False}  # the default, True, would divide by the number of GPUs

        def infer(single: dict[str, Any], store: Any = None) -> dict[str, Any]:
            try:
                return self.infer(single, store)
            except HTTPException as error:
                if error.status_code != 422:
                    raise
                logger.warning("no mask of %s: %s", single.get("image"), error.detail)
                return {"error": error.detail}

        results = self._batch_infer(request, datastore or self.datastore(), infer)
        errors = [result["error"] for result in results.values() if "error" in result]
        if errors and len(errors) == len(results):
            raise HTTPException(422, errors[0])
        return results

    def scoring(self, request: dict[str, Any], datastore: Any = None) -> dict[str, Any]:
        self._require(request.get("method"), self._scoring_methods, "scoring method")
        with as_422():
            return super().scoring(request, datastore)

    def next_sample(self, request: dict[str, Any]) -> dict[str, Any]:
        self._require(request.get("strategy") or "random", self._strategies, "strategy")
        with as_422():
            return super().next_sample(request)

    def bundle_path(self, model: str | None) -> str | None:
        """Asked for before every background task, and so the moment to refuse a model that does not exist."""
        if model is not None:
            self._require(model, self._trainers or self._infers, "model")
        return super().bundle_path(model)

    def on_save_label(self, image_id: str, label_id: str) -> dict[str, Any]:
        """What the answer to an upload says of the label."""
        super().on_save_label(image_id, label_id)
        store = self.datastore()
        infos: dict[str, dict[str, Any]] = {
            tag: store.get_label_info(label_id, tag) for tag in store.get_labels_by_image_id(image_id)
        }
        # "ts" counts seconds: of a proposal ("original") saved in the same one, the upload is the newer
        newest = max(infos.items(), key=lambda pair: (pair[1].get("ts", 0), pair[0] != "original"), default=("", {}))[1]
        return {key: newest[key] for key in CheckedStore.FOUND if key in newest}

    @staticmethod
    def _require(name: Any, known: dict[str, Any], what: str) -> None:
        if name not in known:
            raise HTTPException(404, f"there is no {what} {name!r}; known are {', '.join(sorted(known))}")

"""Routes under /annotate/ for a client that corrects cells: arrays in and out, nothing of which waits for another.

MONAI Label's own routes hold up the whole server while they segment or score; these do not, so that progress can be
asked for and a proposal cancelled. docs/annotate.md lists them.
"""

from __future__ import annotations

import math
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import APIRouter, Body, FastAPI, File, HTTPException, Response, UploadFile

from bundle.atomic import sha256
from bundle.data.formats import natural_key, spatial_shape
from bundle.inference import uncertainty
from bundle.inference.passes import disagreeing_passes
from bundle.model import TrainedNetwork
from label_app.pixels import image_of, label_of, packed, unpacked, write_label
from label_app.refusals import as_422
from label_app.store import CheckedStore
from label_app.watching import TrainingWatch, stop_training

_ARRAYS = "application/x-npz"
#: bytes that an array may have beside 8 for each pixel
_HEADERS = 1 << 16


def put_first(server: FastAPI, app: Any) -> None:
    """Add the routes, where the images are files of a folder and there is a model."""
    if isinstance(app.datastore(), CheckedStore) and app.models:
        server.router.routes[:0] = Annotator(app).router.routes


class _Without:
    """A datastore in which some images need no label."""

    def __init__(self, store: CheckedStore, names: list[str]) -> None:
        self._store, self._names = store, set(names)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def get_unlabeled_images(self, *args: Any) -> list[str]:
        return [name for name in self._store.get_unlabeled_images(*args) if name not in self._names]


class Annotator:
    """What the routes do; each method's docstring is the description of one.

    Args:
        app: MONAI Label's, with its datastore; the first of its models proposes and trains.
    """

    def __init__(self, app: Any) -> None:
        self.app = app
        self.model = next(iter(app.models))
        self.store: CheckedStore = app.datastore()
        self.training = TrainingWatch(Path(app.models[self.model]))
        self._proposing = threading.Lock()
        self.router = APIRouter(prefix="/annotate", tags=["Annotate"])
        routes: list[tuple[str, str, Callable[..., Any]]] = [
            ("GET", "/", self.about),
            ("GET", "/images", self.images),
            ("GET", "/image", self.image),
            ("GET", "/label", self.label),
            ("PUT", "/label", self.submit),
            ("POST", "/next", self.next),
            ("POST", "/proposal", self.propose),
            ("DELETE", "/proposal", self.cancel),
            ("GET", "/progress", self.progress),
            ("GET", "/training", self.training.__call__),
            ("DELETE", "/training", stop_training),
        ]
        for method, path, route in routes:
            self.router.add_api_route(path, route, methods=[method])

    @property
    def task(self) -> Any:
        if self.model not in self.app._infers:
            raise HTTPException(404, f"there is no network {self.model!r}: its models/model.pt is missing")
        return self.app._infers[self.model]

    def about(self) -> dict[str, Any]:
        """What this server is, and the network that it has now."""
        network = TrainedNetwork(self.task.get_path())
        return {
            "server": "seamless-unet",
            "routes": 1,
            "studies": str(Path(self.app.studies).resolve()),
            "model": self.model,
            "network": network.version,
            "classes": list(network.classes.names),
            "cells": {"threshold": network.cell_options().threshold, "min_size": network.cell_options().min_size},
            "strategies": sorted(self.app._strategies),
        }

    def images(self) -> list[dict[str, Any]]:
        """Each image with its state: "annotated", "proposed" (a proposal was saved by a batch inference) or "none"."""
        found = []
        for name in sorted(self.store.list_images(), key=natural_key):
            labels = self.store.get_labels_by_image_id(name)
            state = "annotated" if "final" in labels else "proposed" if "original" in labels else "none"
            info = self.store.get_label_info(name, "final") if "final" in labels else {}
            told = {key: info[key] for key in CheckedStore.FOUND if key in info}
            found.append({"name": name, "file": Path(self.store.get_image_uri(name)).name, "state": state, **told})
        return found

    def image(self, image: str) -> Response:
        """The array "image": (Z)YXC."""
        path = self._path(image)
        with as_422():
            return Response(packed(image=image_of(path)), media_type=_ARRAYS)

    def label(self, image: str, tag: str = "final") -> Response:
        """The arrays "cells", (Z)YX, and "classes", the class of each number; the ETag is the version of the label."""
        self._path(image)
        with self.store.changing():  # of one time
            path, info = self.store.get_label_uri(image, tag), self.store.get_label_info(image, tag)
            if not path or not Path(path).is_file():
                raise HTTPException(404, f"image {image!r} has no label {tag!r}")
            with as_422():
                cells, table = label_of(path, info, self.store.classes())
            return Response(
                packed(cells=cells, classes=table), media_type=_ARRAYS, headers={"ETag": sha256(Path(path))}
            )

    def submit(self, image: str, version: str | None = None, label: UploadFile = File(...)) -> dict[str, Any]:  # noqa: B008
        """Save the label of an image; ``version`` is that of the label that was corrected, empty for none before."""
        path = self._path(image)
        with tempfile.TemporaryDirectory() as folder, as_422():
            most = 8 * math.prod(spatial_shape(path)) + _HEADERS
            cells, table = unpacked(label.file, most, "cells", "classes")
            file, info = write_label(Path(folder), path, cells, table, self.store.classes())
            with self.store.changing():
                if version is not None and version != self._version(image):
                    raise HTTPException(
                        412,
                        f"the label of image {image!r} was changed by someone else since it was opened",
                    )
                self.store.save_label(image, str(file), "final", info)
                told: dict[str, Any] = self.app.on_save_label(image, image)
                return {**told, "image": image, "version": self._version(image)}

    def next(self, strategy: str = "first", request: dict[str, Any] = Body({})) -> dict[str, Any]:  # noqa: B008
        """The image to annotate next, "image" and, where the strategy gives one, "score"; empty when all are.

        Those of "skip" count as annotated, for whoever asks.
        """
        skip = request.pop("skip", [])
        if not isinstance(skip, list) or not all(isinstance(name, str) for name in skip):
            raise HTTPException(422, f"skip must be a list of names of images, got {skip!r}")
        self.app._require(strategy, self.app._strategies, "strategy")
        with as_422():
            chosen = self.app._strategies[strategy]({**request, "strategy": strategy}, _Without(self.store, skip))
        return {"image": chosen["id"], "score": chosen.get("score")} if chosen else {}

    def propose(self, image: str, request: dict[str, Any] = Body({})) -> Response:  # noqa: B008
        """Segment an image with ``threshold`` and ``min_size``; ``passes`` for the uncertainty, or 0.

        The arrays are "cells" and "classes", "probability" and "uncertainty", float16. The latter is 1 - |2 p - 1| or,
        with passes, their disagreement as a share of ln 2.
        """
        path, passes = self._path(image), request.pop("passes", 0)
        unknown = set(request) - {"threshold", "min_size"}
        if unknown:
            raise HTTPException(422, f"a proposal has threshold, min_size and passes, not {', '.join(sorted(unknown))}")
        if isinstance(passes, bool) or not isinstance(passes, int) or not 0 <= passes <= 64 or passes == 1:
            raise HTTPException(422, f"passes must be 0 or a whole number from 2 to 64, got {passes!r}")
        task = self.task
        if not self._proposing.acquire(timeout=600):
            raise HTTPException(503, "another proposal is being made: try again")
        try:
            task.progress.begin(image)
            asked = {**request, "instances": True, "model": self.model, "image": image, "skip_writer": True}
            data = self.app.infer(asked)["params"]
            probability = data["probability"].cpu().numpy()
            with as_422():
                doubt = self._doubt(path, passes) if passes else 1 - np.abs(2 * probability - 1)
        finally:
            task.progress.begin(None)
            self._proposing.release()
        cells = np.asarray(data[task.output_label_key]).astype(np.int32)
        table = np.asarray(data.get("cell_classes", np.minimum(np.arange(cells.max(initial=0) + 1), 1)), np.int64)
        maps = {"probability": probability, "uncertainty": doubt}
        halves = {name: array.T.astype(np.float16) for name, array in maps.items()}
        return Response(packed(cells=cells.T, classes=table, **halves), media_type=_ARRAYS)

    def _doubt(self, path: str, passes: int) -> np.ndarray:
        task = self.task
        with task.lock:
            network, inferer, image = task.prepared(path)
            disagreeing = disagreeing_passes(network, inferer, image, passes)
        doubt: np.ndarray = uncertainty.epistemic_map(disagreeing).numpy() / np.log(2)
        return doubt

    def progress(self) -> dict[str, Any]:
        """Of the proposal in work: "image", tiles "done" and "total"; "image" is null while there is none."""
        now = self.task.progress
        return {"image": now.image, "done": now.done, "total": now.total}

    def cancel(self, image: str) -> dict[str, Any]:
        """End the proposal of an image after the tile in work; its request is answered with 409."""
        now = self.task.progress
        if now.image != image:
            raise HTTPException(409, f"no proposal of image {image!r} is being made")
        now.cancelled = True
        return {"image": image}

    def _path(self, image: str) -> str:
        path = self.store.get_image_uri(image)
        if not path or not Path(path).is_file():
            raise HTTPException(404, f"image {image!r} is not in the studies; GET /annotate/images lists them")
        return path

    def _version(self, image: str) -> str:
        path = self.store.get_label_uri(image, "final")
        return sha256(Path(path)) if path and Path(path).is_file() else ""

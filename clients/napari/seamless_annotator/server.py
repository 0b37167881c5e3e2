"""A server of this bundle, asked over REST."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import requests

Label = tuple[np.ndarray, np.ndarray, str]
#: a server that does not answer, or ends in the middle of an answer
_GONE = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
#: states of a training that has not ended
AT_WORK = ("submitted", "running", "stopping")


class Refused(RuntimeError):
    """The server has refused a request; the message is its reason."""


class NotFound(Refused):
    """There is no such image or label."""


class Changed(Refused):
    """The label has changed since it was opened."""


class Foreign(Refused):
    """The server is none of this bundle, or has other images or classes than before."""


class Away(RuntimeError):
    """There is no answer: the server has ended, or is not there yet."""


class Server:
    """The routes of /annotate/, and MONAI Label's to begin a training.

    Args:
        address: such as http://127.0.0.1:8000

    Each method raises :class:`Away` or :class:`Refused`.
    """

    #: seconds for what the server answers at once, and for what it works on
    AT_ONCE, LONG = 20.0, 24 * 3600.0

    def __init__(self, address: str) -> None:
        self.address = address.strip().rstrip("/")

    def about(self) -> dict[str, Any]:
        """Names of the classes, the strategies and more; refused where it is no server of this bundle."""
        try:
            told = self._ask("GET", "").json()
        except (NotFound, ValueError):  # ValueError: an answer that is no JSON
            told = None
        if not isinstance(told, dict) or told.get("server") != "seamless-unet" or told.get("routes") != 1:
            raise Foreign(f"{self.address} is no server of this bundle: start one with make label")
        return told

    def images(self) -> list[dict[str, Any]]:
        """Name, file and state of each; of an annotated one, its numbers of cells, too."""
        return self._ask("GET", "images").json()

    def image(self, name: str) -> np.ndarray:
        """(Z)YXC."""
        return self._arrays(self._ask("GET", "image", image=name))["image"]

    def label(self, name: str, tag: str = "final") -> Label | None:
        """Cells, the class of each, and the version of the label; None without one."""
        try:
            answer = self._ask("GET", "label", image=name, tag=tag)
        except NotFound:
            return None
        arrays = self._arrays(answer)
        return arrays["cells"], arrays["classes"], answer.headers["ETag"]

    def submit(self, name: str, cells: np.ndarray, classes: np.ndarray, version: str | None) -> dict[str, Any]:
        """Save a label in the place of that version, "" for none; what the server says of it, with its "version"."""
        stream = io.BytesIO()
        np.savez(stream, cells=cells, classes=classes)
        query = {"image": name} if version is None else {"image": name, "version": version}
        files = {"label": ("label.npz", stream.getvalue())}
        return self._ask("PUT", "label", files=files, timeout=self.LONG, **query).json()

    def next(self, strategy: str, skip: Sequence[str] = ()) -> dict[str, Any]:
        """ "image" and "score", or nothing when all images but those of ``skip`` have a label."""
        return self._ask("POST", "next", json={"skip": list(skip)}, timeout=self.LONG, strategy=strategy).json()

    def propose(self, name: str, options: Mapping[str, Any] | None = None) -> dict[str, np.ndarray]:
        """The arrays "cells", "classes", "probability", "uncertainty"; refused when it is cancelled."""
        answer = self._ask("POST", "proposal", json=dict(options or {}), timeout=self.LONG, image=name)
        return self._arrays(answer)

    def progress(self) -> dict[str, Any]:
        """ "image", tiles "done" and "total" of the proposal in work."""
        return self._ask("GET", "progress").json()

    def cancel(self, name: str) -> None:
        """End the proposal of an image."""
        self._ask("DELETE", "proposal", image=name)

    def train(self, epochs: int) -> None:
        """Begin a training in the background."""
        address = f"{self.address}/train/{self.about()['model']}"
        self._answer("POST", address, json={"max_epochs": epochs}, timeout=self.AT_ONCE)

    def training(self) -> dict[str, Any]:
        """State of the last training, its loss and validation so far."""
        return self._ask("GET", "training").json()

    def stop_training(self) -> None:
        """Let it end its step, save it and close its run."""
        self._ask("DELETE", "training")

    def _ask(
        self, method: str, route: str, files: Any = None, json: Any = None, timeout: float = AT_ONCE, **query: str
    ) -> requests.Response:
        address = f"{self.address}/annotate/{route}"
        return self._answer(method, address, params=query, files=files, json=json, timeout=timeout)

    def _answer(self, method: str, address: str, **options: Any) -> requests.Response:
        try:
            answer = requests.request(method, address, **options)
        except _GONE as error:
            raise Away(f"no answer from {self.address}: is the server running?") from error
        except requests.RequestException as error:
            raise Refused(f"{self.address} cannot be asked: {error}") from error
        if answer.ok:
            return answer
        try:
            reason = answer.json()["detail"]
        except (ValueError, KeyError, TypeError):
            reason = f"{answer.status_code} {answer.reason}"
        kind = {404: NotFound, 412: Changed}.get(answer.status_code, Refused)
        raise kind(str(reason))

    @staticmethod
    def _arrays(answer: requests.Response) -> dict[str, np.ndarray]:
        with np.load(io.BytesIO(answer.content), allow_pickle=False) as arrays:
            return dict(arrays)

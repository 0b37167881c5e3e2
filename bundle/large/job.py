"""One job: the result of one image, what made it, and what of it is done."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from bundle.atomic import remove_leftovers, write_json
from bundle.data.errors import ImageError
from bundle.large.markers import Markers
from bundle.large.result_store import Layout, ResultStore

_PACKAGES = ("seamless-unet", "torch", "numpy", "zarr")


def machine(device: torch.device, threads: int) -> dict[str, str]:
    """What of machine and packages decides about the last bits of a result, and how many threads of torch do."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    return {
        "device": f"{device.type} {name}",
        "threads": str(threads),
        **{f"package {name}": _version(name) for name in _PACKAGES},
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


class Job:
    """The result store ``NAME_segmentation.ome.zarr``, and beside it, while the job is not complete, a folder of what
    is done, ``NAME_segmentation.job``.

    Args:
        output_dir: folder of the results.
        name: of the image.
        image: the file or store that is segmented; its own folder is refused.
    """

    def __init__(self, output_dir: Path, name: str, image: str) -> None:
        self.path = output_dir / f"{name}_segmentation.ome.zarr"
        self.folder = output_dir / f"{name}_segmentation.job"
        self.image = image

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other process works on this job meanwhile.

        Raises:
            RuntimeError: when one does.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise RuntimeError(f"another process works on {self.path}: wait for it, or end it") from None
        try:
            yield
        finally:
            lock.release()
            if self.folder.is_dir() and os.listdir(self.folder) in (["lock"], []):
                shutil.rmtree(self.folder, ignore_errors=True)

    def note(self) -> dict[str, Any] | None:
        """What the store says of the job that made it; None where there is none yet.

        Raises:
            ImageError: for a folder of another origin.
        """
        if not self.path.exists():
            return None
        try:
            note = ResultStore(self.path).note
        except Exception:  # whatever is there
            note = {}
        if "fingerprint" not in note:
            raise ImageError(self.image, f"{self.path} is there and no result of this command: move it away")
        return note

    def forget(self) -> None:
        """What is left of a store that was removed."""
        shutil.rmtree(self.folder / "stages", ignore_errors=True)
        (self.folder / "gray.json").unlink(missing_ok=True)

    def open(self, fingerprint: Mapping[str, str], layout: Layout, network: str) -> ResultStore:
        """The store, new or as an earlier process left it.

        Raises:
            ImageError: as :meth:`require_same`.
        """
        remove_leftovers(self.path.parent)
        note = self.note()
        if note is None:
            content = {"fingerprint": dict(fingerprint), "network": network, "probability": False, "cells": None}
            return ResultStore.create(self.path, layout, content)
        self.require_same(note, fingerprint, network)
        if note["cells"] is None:
            remove_leftovers(self.path)
            self._remove_partial()
        return ResultStore(self.path)

    def require_same(self, note: Mapping[str, Any], fingerprint: Mapping[str, str], network: str) -> None:
        """Check what a store was begun with.

        Args:
            note: of the store.
            fingerprint: of this command.
            network: its name, for the message.

        Raises:
            ImageError: when it was begun with anything else: what and how it differs.
        """
        begun = note["fingerprint"]
        other = [name for name in {**begun, **fingerprint} if begun.get(name) != fingerprint.get(name)]
        if other:
            was = {**begun, "network": f"{note.get('network', '')} {begun['network']}".lstrip()}
            now = {**fingerprint, "network": f"{network} {fingerprint['network']}"}
            told = "; ".join(f"{name} was {was.get(name)}, is {now.get(name)}" for name in other)
            raise ImageError(
                self.image,
                f"{self.path} was begun with other settings, and what is there would not fit the rest ({told}): use "
                "them again, choose another output_dir, or remove it to begin again",
            )

    def markers(self, stage: str) -> Markers:
        return Markers(self.folder / "stages", stage)

    def remembered(self, name: str) -> dict[str, Any] | None:
        """A small result of a pass, as :meth:`remember` kept it."""
        file = self.folder / f"{name}.json"
        return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None

    def remember(self, name: str, content: Mapping[str, Any]) -> None:
        write_json(self.folder / f"{name}.json", dict(content))

    def _remove_partial(self) -> None:
        """What zarr was writing when a process was killed."""
        for part in self.path.rglob("*.partial"):
            part.unlink(missing_ok=True)

    def remove_interim(self) -> None:
        """What was for the time of the job only, and what workers left that died meanwhile."""
        self._remove_partial()
        shutil.rmtree(self.folder, ignore_errors=True)

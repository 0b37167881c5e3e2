"""Work that is not submitted, on disk: nothing of it is lost when a program or a machine stops."""

from __future__ import annotations

import json
import os
import secrets
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import numpy as np
import tifffile


def folder_of_drafts(address: str, studies: str, example: str) -> Path:
    """Beside the images, where they are on this machine; else in the home directory, by the server's address.

    Args:
        address: of the server.
        studies: its folder of images, as the server names it.
        example: name of a file in it.
    """
    if urlsplit(address).hostname in ("127.0.0.1", "localhost", "::1") and (Path(studies) / example).is_file():
        return Path(studies) / "drafts"
    return Path.home() / ".seamless-annotator" / quote(urlsplit(address).netloc, safe="") / "drafts"


class Drafts:
    """A TIFF for each image: the numbers of the layer, and in its description, as JSON, what belongs to them.

    A draft that another window has written since is never replaced: it gets a name of its own first.

    Args:
        folder: made by the first draft.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._mine: dict[str, str] = {}
        self._turn = threading.RLock()

    def save(self, image: str, numbers: np.ndarray, about: Mapping[str, Any]) -> Path:
        """Write the draft of an image, whole or not at all.

        Raises:
            OSError: when it cannot be written; the one before stays.
        """
        with self._turn:
            return self._save(image, numbers, about)

    def _save(self, image: str, numbers: np.ndarray, about: Mapping[str, Any]) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        file, key = self._file(image), secrets.token_hex(8)
        if file.is_file() and self._key(file) != self._mine.get(image):
            self.set_aside(image)
        part = file.with_name(f".{key}.part")
        try:
            with part.open("wb") as stream:
                tifffile.imwrite(
                    stream,
                    numbers,
                    photometric="minisblack",
                    compression="zlib",
                    compressionargs={"level": 1},
                    description=json.dumps({**about, "key": key}),
                    metadata=None,
                )
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(part, file)
        finally:
            part.unlink(missing_ok=True)
        self._mine[image] = key
        return file

    def load(self, image: str) -> tuple[np.ndarray, dict[str, Any]] | None:
        """Numbers and what belongs to them; None without a draft, or with one that cannot be read."""
        file = self._file(image)
        try:
            with tifffile.TiffFile(file) as tiff:
                about = json.loads(tiff.pages.first.description)
                numbers = tiff.asarray()
            self._mine[image] = about["key"]
        except FileNotFoundError:
            return None
        except Exception:  # damaged by others: whatever tifffile makes of it
            self.set_aside(image)
            return None
        return numbers, about

    def set_aside(self, image: str) -> Path:
        """Give the draft a name of its own, under which nobody replaces it."""
        file = self._file(image)
        number = 1
        while (other := file.with_name(f"{file.stem}.{number}.kept.tif")).exists():
            number += 1
        os.replace(file, other)
        return other

    def discard(self, image: str) -> None:
        """Of an image that was submitted; a draft that another window has written since stays."""
        file = self._file(image)
        with self._turn:
            if file.is_file() and self._key(file) == self._mine.get(image):
                file.unlink()

    def state(self, image: str) -> str | None:
        """ "draft", or "proposed" where nobody has corrected it yet; None without one."""
        file = self._file(image)
        if not file.is_file():
            return None
        return "draft" if self._about(file).get("edited", True) else "proposed"

    def states(self) -> dict[str, str]:
        """Of each image with one."""
        files = (file for file in self.folder.glob("*.tif") if not file.name.endswith(".kept.tif"))
        return {image: state for image in (unquote(file.stem) for file in files) if (state := self.state(image))}

    def _file(self, image: str) -> Path:
        return self.folder / f"{quote(image, safe=' +,()@')}.tif"  # a name that leads nowhere else

    @staticmethod
    def _about(file: Path) -> dict[str, Any]:
        try:
            with tifffile.TiffFile(file) as tiff:
                about: dict[str, Any] = json.loads(tiff.pages.first.description)
        except Exception:  # as in load
            return {}
        return about

    def _key(self, file: Path) -> str | None:
        return self._about(file).get("key")

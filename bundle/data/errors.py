"""What can be wrong with an image file. Whoever reads many files can skip these and still stop at a defect of ours."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager


class ImageError(ValueError):
    """An image file that cannot be used.

    Args:
        path: the file.
        reason: one sentence, without the path.
    """

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = str(path)
        self.reason = reason

    def __reduce__(self) -> tuple[type[ImageError], tuple[str, str]]:
        # the default rebuilds from the joined message, which fails on the way out of a DataLoader worker
        return type(self), (self.path, self.reason)


class UnreadableImageError(ImageError):
    """A file that is missing, empty, truncated, or not what its name says."""


@contextmanager
def unreadable(path: str | os.PathLike[str], told: str = "its header cannot be read") -> Iterator[None]:
    """Blame the file for whatever a library raises within: each has errors of its own.

    Raises:
        UnreadableImageError: ``told``, and what the library says; an :class:`ImageError` stays as it is.
    """
    try:
        yield
    except ImageError:
        raise
    except Exception as error:
        raise UnreadableImageError(path, f"{told} ({one_line(error)})") from error


def one_line(error: BaseException) -> str:
    """The first line that says something, without the source positions and addresses that ITK prints."""
    text = re.sub(r"ITK ERROR: \w+\(0x\w+\): |\S*/itk\w+\.(cxx|hxx|h):\d+:", "", str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__


def image_error(error: BaseException | None) -> ImageError | None:
    """The :class:`ImageError` that ``error`` is or was caused by (``Compose`` wraps what its transforms raise)."""
    while error is not None and not isinstance(error, ImageError):
        error = error.__cause__
    return error


def shortage(error: BaseException | None) -> str | None:
    """What was short: where ``error`` is or was caused by a full disk, a file that cannot be written or too little
    memory, a sentence; None for anything else."""
    while error is not None:
        text = (str(error).splitlines() or [type(error).__name__])[0]
        if isinstance(error, MemoryError):
            return f"not enough memory ({text})" if "memory" not in text else text
        if isinstance(error, RuntimeError) and re.search(
            r"out of memory|can't allocate memory|not enough memory", text
        ):
            return f"not enough memory ({text})"
        if isinstance(error, OSError) and error.errno is not None:
            return f"{error.strerror} ({error.filename})" if error.filename else error.strerror or text
        error = error.__cause__ or error.__context__
    return None

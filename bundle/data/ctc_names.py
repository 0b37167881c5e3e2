"""File names of the Cell Tracking Challenge: a prefix, then the number of the frame in three or four digits."""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["IMAGE", "RESULT", "SEGMENTATION", "TRACKING", "frames_in"]

IMAGE, SEGMENTATION, TRACKING, RESULT = "t", "man_seg", "man_track", "mask"


def frames_in(folder: str | os.PathLike[str], prefix: str) -> dict[int, Path]:
    """The files ``<prefix>TTT.tif`` of a folder by the number of their frame, in its order.

    Files whose names begin otherwise are left out. A name that begins so and ends differently is refused: a frame
    left out because of a misspelt name would be noticed by nobody.

    Args:
        folder: is empty when it does not exist.
        prefix: one of this module's, for instance :data:`SEGMENTATION`.

    Returns:
        frame number -> path; ``.tiff`` and capitals of the extension are understood, too.

    Raises:
        ValueError: for a number that has not 3 or 4 digits, a slice of a 3D segmentation, or two files of one frame.
    """
    folder = Path(folder)
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        match = re.fullmatch(rf"{prefix}(_?\d.*)\.tiff?", path.name, flags=re.IGNORECASE)
        if match is None:
            continue
        if re.fullmatch(r"_\d+_\d+", match[1]):
            raise ValueError(f"{path} is one slice of a 3D segmentation: only the challenge's 2D data sets are read")
        if not re.fullmatch(r"\d{3,4}", match[1]):
            raise ValueError(f"{path}: the number of its frame must have 3 or 4 digits, as {prefix}002.tif")
        earlier = found.setdefault(int(match[1]), path)
        if earlier is not path:
            raise ValueError(f"{earlier} and {path.name} are both frame {int(match[1])}: remove one")
    return dict(sorted(found.items()))

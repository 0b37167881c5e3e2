"""A small data set in the layout of the Cell Tracking Challenge, written file by file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

SIZE = (20, 30)


def save(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, array, photometric="minisblack")
    return path


def boxes(*corners: tuple[int, int], side: int = 6, size: tuple[int, int] = SIZE, first: int = 1) -> np.ndarray:
    """Squares of ``side`` px with their top left pixels at ``corners``, numbered from ``first``."""
    labels = np.zeros(size, np.uint16)
    for number, (row, column) in enumerate(corners, first):
        labels[row : row + side, column : column + side] = number
    return labels


def write_set(root: Path, sequence: str = "01", frames: int = 4, gold: tuple[int, ...] = (1, 3)) -> Path:
    """Three cells in every frame, of which gold has the first; silver and markers (2 px, other numbers) have all."""
    corners = [(2, 2), (2, 20), (12, 10)]
    for frame in range(frames):
        image = np.random.RandomState(frame).randint(0, 255, SIZE).astype(np.uint8)
        save(root / sequence / f"t{frame:03d}.tif", image)
        save(root / f"{sequence}_ST/SEG/man_seg{frame:03d}.tif", boxes(*corners))
        discs = boxes(*[(row + 2, column + 2) for row, column in corners], side=2, first=5)
        save(root / f"{sequence}_GT/TRA/man_track{frame:03d}.tif", discs)
        if frame in gold:
            save(root / f"{sequence}_GT/SEG/man_seg{frame:03d}.tif", boxes(corners[0]))
    (root / f"{sequence}_GT/TRA/man_track.txt").write_text("5 0 3 0\n6 0 3 0\n7 0 3 0\n")
    return root

"""Images whose pixels say where they are, in every format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import psutil
import pytest
import tifffile


def position_image(height: int = 12, width: int = 20, page: int = 0) -> np.ndarray:
    """(height, width) uint16: 1000 * page + 40 * row + column, different in every pixel."""
    rows, columns = np.mgrid[:height, :width]
    return (1000 * page + 40 * rows + columns).astype(np.uint16)


@pytest.fixture
def position():
    return position_image


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """A TIFF of 5 pages, 12 x 20 px."""
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, np.stack([position_image(page=page) for page in range(5)]), photometric="minisblack")
    return path


@pytest.fixture
def write_pair(tmp_path: Path):
    """Write image/NAME.tif and label/NAME.tif, return the root."""

    def write(name: str, image: np.ndarray | None = None, label: np.ndarray | None = None) -> Path:
        image = position_image() if image is None else image
        label = (position_image() % 3).astype(np.uint8) if label is None else label
        for kind, array in (("image", image), ("label", label)):
            (tmp_path / kind).mkdir(exist_ok=True)
            tifffile.imwrite(tmp_path / kind / f"{name}.tif", array, photometric="minisblack")
        return tmp_path

    return write


@pytest.fixture
def little_memory():
    """2 GiB beside what is taken already: too little for a table as long as the largest number of an instance."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + 2**31, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)

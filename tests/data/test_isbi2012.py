"""The two stacks of ISBI 2012."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile

from bundle.data import datalist, isbi2012
from bundle.data.loading import LoadSliced


def write(root: Path, name: str, pages: int, height: int = 12, width: int = 20) -> None:
    rows, columns = np.mgrid[:height, :width]
    array = np.stack([((rows + columns + page) % 2 * 255).astype(np.uint8) for page in range(pages)])
    tifffile.imwrite(root / name, array, photometric="minisblack")


@pytest.mark.parametrize("pages", [1, 3, 11])
def test_any_number_of_pages_recognised(tmp_path, pages):
    write(tmp_path, "train-volume.tif", pages)
    write(tmp_path, "train-labels.tif", pages)
    items = datalist(tmp_path)
    assert [item["name"] for item in items] == [f"train-{i:02d}" for i in range(pages)]
    assert items == isbi2012.datalist(tmp_path)
    assert {item["label"] for item in items} == {str(tmp_path / "train-labels.tif")}
    if pages > 1:
        assert [item["slice"] for item in items] == list(range(pages))
    loaded = LoadSliced(("image", "label"))(items[-1])
    assert loaded["image"].shape == (1, 20, 12)
    assert set(np.unique(loaded["label"])) == {0, 255}


def test_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no train-volume\.tif"):
        isbi2012.datalist(tmp_path)
    write(tmp_path, "train-volume.tif", 2)
    with pytest.raises(FileNotFoundError, match=r"has no train-labels\.tif"):
        isbi2012.datalist(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"has no test-volume\.tif"):
        isbi2012.test_stack(tmp_path)


@pytest.mark.parametrize(("pages", "width", "shape"), [(3, 20, r"\(20, 12, 3\)"), (2, 22, r"\(22, 12, 2\)")])
def test_stacks_that_disagree(tmp_path, pages, width, shape):
    write(tmp_path, "train-volume.tif", 2)
    write(tmp_path, "train-labels.tif", pages, width=width)
    with pytest.raises(ValueError, match=rf"train-labels\.tif: its shape .* is {shape}, .* is \(20, 12, 2\)"):
        isbi2012.datalist(tmp_path)


@pytest.mark.skipif("SEAMLESS_DATA" not in os.environ, reason="SEAMLESS_DATA names no folder with isbi2012/")
def test_the_real_data():
    items = datalist(Path(os.environ["SEAMLESS_DATA"]) / "isbi2012")
    loaded = LoadSliced(("image", "label"))(items[-1])
    stack = tifffile.imread(items[-1]["image"])
    np.testing.assert_array_equal(loaded["image"][0].numpy(), stack[-1].T)
    assert set(np.unique(loaded["label"])) == {0, 255}

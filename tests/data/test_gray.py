"""White stored as 0, one pixel far beyond the others, complex numbers and channels, in real TIFF files."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import tifffile
from PIL import Image

from bundle.data import gray
from bundle.data.errors import ImageError
from bundle.data.load_slice import LoadSlice
from transforms import Standardize


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch):
    monkeypatch.setattr(gray, "_SAID", set())


@pytest.mark.parametrize(("dtype", "black"), [("uint8", 255), ("uint16", 65535), ("float32", None)])
def test_white_stored_as_0_is_read_as_viewers_show_it(tmp_path, position, dtype, black, caplog):
    stored = (position() % 200).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="miniswhite")
    tifffile.imwrite(tmp_path / "b.tif", np.stack([stored, stored + 1]), photometric="miniswhite")
    with caplog.at_level(logging.WARNING):
        first, second = LoadSlice()(str(tmp_path / "a.tif")), LoadSlice()(str(tmp_path / "b.tif"), 1)
        again = LoadSlice()(str(tmp_path / "b.tif"), 1)
    expected = (stored.T if black is None else black - stored.T).astype(np.float32)
    np.testing.assert_array_equal(first[0], expected)
    for each in (second, again):
        np.testing.assert_array_equal(each[0], expected + (1 if black is None else -1))
    assert len(caplog.records) == (0 if black is None else 1)
    labels = LoadSlice(label=True)(str(tmp_path / "a.tif"))
    np.testing.assert_array_equal(labels[0], stored.T)  # numbers of cells are no brightness


def test_what_a_viewer_shows_is_what_pillow_shows(tmp_path, position):
    tifffile.imwrite(tmp_path / "a.tif", (position() % 200).astype(np.uint8), photometric="miniswhite")
    shown = np.asarray(Image.open(tmp_path / "a.tif").convert("L"))
    np.testing.assert_array_equal(LoadSlice()(str(tmp_path / "a.tif"))[0], shown.T)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_complex_numbers_are_refused(tmp_path, dtype):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((9, 12), dtype))
    with pytest.raises(ImageError, match=r"a\.tif: its pixels are complex numbers \(complex.*\): save their magnitude"):
        LoadSlice()(str(tmp_path / "a.tif"))


def nuclei():
    """Bright, sparse, 12 bits: far beyond the background, and as it should be."""
    random = np.random.RandomState(0)
    image = random.normal(100, 2, (300, 300))
    y, x = np.mgrid[:300, :300]
    for centre in random.randint(10, 290, (6, 2)):
        image[np.hypot(y - centre[0], x - centre[1]) < 6] = 3800
    return image.round().astype(np.uint16)


def test_one_extreme_pixel_is_warned_about_and_robust_standardisation_leaves_the_rest(tmp_path, caplog):
    image = np.random.RandomState(0).normal(100, 10, (300, 200)).round().astype(np.int32)
    tifffile.imwrite(tmp_path / "good.tif", image)
    tifffile.imwrite(tmp_path / "nuclei.tif", nuclei())
    good = LoadSlice()(str(tmp_path / "good.tif"))
    LoadSlice()(str(tmp_path / "nuclei.tif"))
    assert not caplog.text
    image[7, 9] = 10**6
    tifffile.imwrite(tmp_path / "hot.tif", image)
    with caplog.at_level(logging.WARNING):
        hot = LoadSlice()(str(tmp_path / "hot.tif"))
    assert "hot.tif: its pixel at (0, 9, 7) (channel, x, y) is 1e+06" in caplog.text
    assert "--standardize#robust true" in caplog.text
    others = np.ones(hot.shape, bool)
    others[0, 9, 7] = False
    assert float(Standardize()(hot)[others].std()) < 0.01
    robust, expected = Standardize(robust=True)(hot), Standardize(robust=True)(good)
    assert float((robust - expected)[others].abs().max()) < 0.01
    assert float(robust.max()) < 5

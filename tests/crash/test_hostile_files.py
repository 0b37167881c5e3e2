"""The long form of tests/data/test_hostile.py: every format, each length, thousands of damages."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from bundle.data.readers import read_image
from tests.data.hostile import F32, answer, edited, edits, make_files, put

pytestmark = pytest.mark.crash
NAMES = ["zlib.tif", "lzw.tif", "packbits.tif", "zstd.tif", "plain.tif", "tiles.tif", "big.tif", "jpeg.tif"]
NAMES += ["imagej.tif", "ome.tif", "fax.tif", "gray.png", "one_bit.png", "colour.png", "gray.jpg", "gray.bmp"]
NAMES += ["colour.bmp", "plane.nii", "stack.nii.gz", "plane.mha", "stack.mha", "apart.mhd"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    made = make_files(tmp_path_factory.mktemp("hostile") / "sound")
    assert sorted(NAMES) == sorted(made)
    return made


@pytest.mark.parametrize("name", NAMES)
def test_damaged(files, tmp_path, name):
    @settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
    @given(changes=edits)
    def check(changes):
        answer(put(tmp_path / "d", files[name], edited(files[name].read_bytes(), changes)))

    check()


@pytest.mark.parametrize("name", NAMES)
def test_truncated_at_every_byte(files, tmp_path, name):
    content, whole = files[name].read_bytes(), read_image(str(files[name]), F32).numpy()
    for length in range(len(content)):
        found = answer(put(tmp_path / "t", files[name], content[:length]))
        assert found is None or np.array_equal(found, whole), length

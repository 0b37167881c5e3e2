from __future__ import annotations

import pytest

from tests.quick import tests_of as paths_for


@pytest.mark.parametrize(
    ("changed", "paths"),
    [
        ("transforms/labels/separation.py", ["tests/transforms/labels/test_separation.py"]),
        ("bundle/data/stores/levels.py", ["tests/data/test_stores.py"]),  # its package's
        ("tests/data/ctc_set.py", ["tests/data"]),
        ("tests/test_bundle.py", ["tests/test_bundle.py"]),
        ("tests/conftest.py", []),
        ("tests/label/images.py", []),
        ("docs/training.md", []),
    ],
)
def test_tests_of_a_file(changed, paths):
    assert paths_for([changed]) == paths


def test_examples_and_users_of_a_module():
    found = paths_for(["bundle/networks/unet.py", "tests/networks/test_dcn.py"])
    assert {"bundle/networks/unet.py", "tests/networks/test_unet.py", "tests/networks/test_dcn.py"} <= set(found)
    assert "tests/model/test_architecture.py" in found  # it names bundle.networks.unet


def test_a_room_takes_the_place_of_its_files():
    assert paths_for(["bundle/geometry/tiles.py", "tests/geometry/test_geometry.py"]) == ["tests/geometry"]

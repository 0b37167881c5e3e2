"""Names, and files that appear whole or not at all; what is in them is shown by the tests of the outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bundle.output.formats import split_name, write_image, write_whole


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.png", ("a", ".png")),
        ("A.TIFF", ("A", ".tiff")),
        ("brain.nii.gz", ("brain", ".nii.gz")),
        ("brain.NII.GZ", ("brain", ".nii.gz")),
        ("b.1.mha", ("b.1", ".mha")),
        ("none", ("none", "")),
    ],
)
def test_stem_and_suffix(name, expected):
    assert split_name(Path("folder.d") / name) == expected


def test_the_old_file_stays_until_the_new_one_is_complete(tmp_path):
    target = tmp_path / "a.nii.gz"
    target.write_text("old")
    seen = []

    def write(path):
        path.write_text("new")
        seen.append((path.parent, path.name.endswith(".nii.gz"), target.read_text()))

    write_whole(target, write)
    assert seen == [(tmp_path, True, "old")]
    assert target.read_text() == "new"

    def fail(path):
        path.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(target, fail)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.nii.gz", "new")]


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"target must end in \.tif, \.nii\.gz or \.mha, got .*a\.jpg"):
        write_image(tmp_path / "a.jpg", np.zeros((2, 2), np.uint8), tmp_path / "b.jpg", {})

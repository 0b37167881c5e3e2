"""The layout of the Cell Tracking Challenge: which files belong together, and everything that can be wrong with it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from bundle.data import ctc, datalist
from bundle.data.ctc import frames_in
from bundle.data.fingerprint import fingerprint
from tests.data.ctc_set import SIZE, boxes, save, write_set


@pytest.fixture
def root(tmp_path) -> Path:
    return write_set(tmp_path / "set")


def names(items: list[dict]) -> list[str]:
    return [item["name"] for item in items]


def test_gold_frames_with_all_the_evidence_there_is(root):
    assert ctc.recognises(root)
    items = datalist(root)
    assert items == ctc.datalist(root)
    assert names(items) == ["01-001", "01-003"]
    assert items[0] == {
        "image": str(root / "01/t001.tif"),
        "label": str(root / "01_GT/SEG/man_seg001.tif"),
        "name": "01-001",
        "relative_time": 0.25,
        "silver": str(root / "01_ST/SEG/man_seg001.tif"),
        "markers": str(root / "01_GT/TRA/man_track001.tif"),
    }


@pytest.mark.parametrize(
    ("evidence", "keys"),
    [("none", set()), ("markers", {"markers"}), ("silver", {"silver", "markers"}), ("auto", {"silver", "markers"})],
)
def test_evidence(root, evidence, keys):
    for item in datalist(root, evidence=evidence):
        assert item.keys() - {"image", "label", "name", "relative_time"} == keys


def test_auto_takes_what_there_is_frame_by_frame(root):
    (root / "01_ST/SEG/man_seg001.tif").unlink()
    shutil.rmtree(root / "01_GT/TRA")
    assert [sorted(item.keys() - {"image", "label", "name", "relative_time"}) for item in datalist(root)] == [
        [],
        ["silver"],
    ]


def test_silver_evidence_does_without_markers(root):
    shutil.rmtree(root / "01_GT/TRA")
    assert all("silver" in item and "markers" not in item for item in datalist(root, evidence="silver"))


def test_silver_labels_are_every_frame_and_carry_no_evidence(root):
    items = datalist(root, labels="silver")
    assert names(items) == ["01-000", "01-001", "01-002", "01-003"]
    assert items[2]["label"] == str(root / "01_ST/SEG/man_seg002.tif")
    assert items[2].keys() == {"image", "label", "name", "relative_time"}


def test_silver_alone_is_a_data_set(root):
    shutil.rmtree(root / "01_GT")
    assert ctc.recognises(root)
    assert len(datalist(root, labels="silver")) == 4
    with pytest.raises(FileNotFoundError, match=r"no frame with a gold segmentation: there is no NN_GT/SEG/man_segTTT"):
        datalist(root)


def test_labels_auto_is_silver_for_a_sequence_that_has_it_else_gold(root):
    write_set(root, "02", gold=(0,))
    shutil.rmtree(root / "02_ST")
    items = datalist(root, labels="auto")
    assert names(items) == ["01-000", "01-001", "01-002", "01-003", "02-000"]
    assert [Path(item["label"]).parts[-3] for item in items] == ["01_ST"] * 4 + ["02_GT"]
    assert "markers" in items[-1]
    assert "markers" not in items[0]
    shutil.rmtree(root / "01_ST")
    assert datalist(root, labels="auto") == datalist(root, labels="gold")


def test_sequences(root):
    write_set(root, "02", gold=(0,))
    write_set(root, "03", gold=())
    assert names(datalist(root)) == ["01-001", "01-003", "02-000"]
    assert names(datalist(root, sequences=["02"])) == ["02-000"]
    with pytest.raises(FileNotFoundError, match="no gold segmentation of sequence 03: there is no 03_GT/SEG"):
        datalist(root, sequences=["01", "03"])
    with pytest.raises(ValueError, match=r"sequences must be among 01, 02, 03, got '04', 1$"):
        datalist(root, sequences=["04", "01", 1])
    for wrong in ("01", []):
        with pytest.raises(ValueError, match=r"sequences must be a list of names, as \['01'\]"):
            datalist(root, sequences=wrong)


def test_four_digits_name_the_item_and_match_three(root):
    for frame in range(4):
        (root / f"01/t{frame:03d}.tif").rename(root / f"01/t{frame:04d}.tif")
    save(root / "01/t1000.TIFF", np.ones(SIZE, np.uint8))
    save(root / "01_GT/SEG/man_seg1000.tif", boxes((0, 0)))
    assert names(datalist(root)) == ["01-0001", "01-0003", "01-1000"]


def test_other_files_are_left_out(root):
    for name in ("01/notes.txt", "01/._t000.tif", "01/Thumbs.db", "01_GT/SEG/readme.tif", "01/thumb.tif"):
        (root / name).write_text("x")
    assert len(datalist(root)) == 2


def test_what_is_no_such_layout(tmp_path):
    (tmp_path / "01").mkdir()
    (tmp_path / "image").mkdir()
    assert not ctc.recognises(tmp_path)


def test_no_sequence_points_to_the_right_folder(root):
    with pytest.raises(FileNotFoundError, match=r"has no folder of a sequence, as 01; .*set has: give that; layouts"):
        datalist(root.parent, layout="ctc")
    with pytest.raises(FileNotFoundError, match=r"has no folder of a sequence, as 01$"):
        ctc.datalist(root / "01")
    with pytest.raises(FileNotFoundError, match=r"has no folder of a sequence, as 01$"):
        ctc.datalist(root / "nowhere")


@pytest.mark.parametrize("kind", ["01_GT/SEG/man_seg", "01_ST/SEG/man_seg", "01_GT/TRA/man_track"])
def test_truth_without_its_image(root, kind):
    save(root / f"{kind}007.tif", boxes((0, 0)))
    with pytest.raises(ValueError, match=rf"{Path(kind).name}007\.tif: frame 7 has no image in .*01$"):
        datalist(root)


@pytest.mark.parametrize(
    ("folder", "one", "other"),
    [
        ("01", "t001.tif", "t0001.tif"),
        ("01", "t001.tif", "t001.tiff"),
        ("01_GT/SEG", "man_seg001.tif", "man_seg0001.tif"),
        ("01_ST/SEG", "man_seg001.tif", "man_seg001.TIF"),
        ("01_GT/TRA", "man_track001.tif", "man_track0001.tif"),
    ],
)
def test_two_files_of_one_frame(root, folder, one, other):
    shutil.copy(root / folder / one, root / folder / other)
    with pytest.raises(ValueError, match=rf"({one}|{other}) and ({one}|{other}) are both frame 1: remove one"):
        datalist(root)


@pytest.mark.parametrize("name", ["01_GT/SEG/man_seg2.tif", "01/t02.tif", "01/t00002.tif", "01_GT/SEG/man_seg_002.tif"])
def test_frame_numbers_have_3_or_4_digits(root, name):
    shutil.copy(root / "01_GT/SEG/man_seg001.tif", root / name)
    with pytest.raises(ValueError, match=rf"{Path(name).name}: the number of its frame must have 3 or 4 digits, as "):
        datalist(root)


def test_3d_is_refused(root):
    extra = save(root / "01_GT/SEG/man_seg_001_012.tif", boxes((0, 0)))
    with pytest.raises(ValueError, match=r"man_seg_001_012\.tif is one slice of a 3D segmentation: only .* 2D"):
        datalist(root)
    extra.unlink()
    save(root / "01/t001.tif", np.zeros((5, *SIZE), np.uint8))
    with pytest.raises(ValueError, match=r"t001\.tif: it is 3D, \(x, y, z\) \(30, 20, 5\): only .* 2D"):
        datalist(root)


@pytest.mark.parametrize("kind", ["01_GT/SEG/man_seg", "01_ST/SEG/man_seg", "01_GT/TRA/man_track"])
def test_sizes_that_differ(root, kind):
    save(root / f"{kind}003.tif", boxes((0, 0), size=(20, 31)))
    with pytest.raises(ValueError, match=r"003\.tif: its size \(x, y\) is \(31, 20\), that of its image .*t003"):
        datalist(root)


@pytest.mark.parametrize(
    ("evidence", "file"), [("markers", "01_GT/TRA/man_track003.tif"), ("silver", "01_ST/SEG/man_seg003.tif")]
)
def test_evidence_that_was_asked_for_must_be_there(root, evidence, file):
    (root / file).unlink()
    folder, _, name = file.rpartition("/")
    with pytest.raises(FileNotFoundError, match=rf"'{evidence}', but frame 3 has none: .* {folder}/{name[:7]}"):
        datalist(root, evidence=evidence)
    assert len(datalist(root)) == 2


def test_truth_without_any_object(root):
    save(root / "01_GT/SEG/man_seg001.tif", boxes())
    assert len(datalist(root)) == 2
    save(root / "01_GT/SEG/man_seg003.tif", boxes())
    with pytest.raises(ValueError, match="none of its 2 gold segmentations holds an object"):
        datalist(root)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": "bronze"}, "labels must be one of gold, silver, auto, got 'bronze'"),
        ({"evidence": "all"}, "evidence must be one of none, markers, silver, auto, got 'all'"),
        ({"labels": "silver", "evidence": "markers"}, "with labels='silver' it must be 'none', got 'markers'"),
    ],
)
def test_bad_options(root, options, message):
    with pytest.raises(ValueError, match=message):
        datalist(root, **options)


def test_frames_are_in_the_order_of_their_numbers(tmp_path):
    for name in ("t1000.tif", "t0002.tif", "t999.tif"):
        (tmp_path / name).write_text("x")
    assert list(frames_in(tmp_path, "t")) == [2, 999, 1000]


def test_the_fingerprint_follows_the_evidence(root):
    items = datalist(root)
    prints = [fingerprint(items), fingerprint(datalist(root, evidence="markers"))]
    for kind in ("01_ST/SEG/man_seg", "01_GT/TRA/man_track"):
        save(root / f"{kind}003.tif", boxes((1, 1)))
        prints.append(fingerprint(items))
    assert len(set(prints)) == len(prints)


def test_without_evidence_the_fingerprint_is_what_it_was_before_there_was_any(tmp_path):
    image, label = tmp_path / "a.tif", tmp_path / "b.tif"
    image.write_bytes(b"image")
    label.write_bytes(b"label")
    items = [{"image": str(image), "label": str(label), "name": "a", "slice": 3}, {"image": str(image), "name": "b"}]
    assert fingerprint(items) == "ac67060f3b65feee"


@pytest.mark.skipif("SEAMLESS_DATA" not in os.environ, reason="SEAMLESS_DATA names no folder with DIC-C2DH-HeLa/")
def test_the_real_data():
    items = datalist(Path(os.environ["SEAMLESS_DATA"]) / "DIC-C2DH-HeLa", sequences=["01"])
    assert names(items) == [f"01-{frame:03d}" for frame in (2, 5, 21, 31, 33, 34, 39, 54, 67)]

"""The quick start's data set: deterministic, atomic, and really made of touching cells."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import ndimage

import bundle.data.synthetic as synthetic
import bundle.data.synthetic_classes as synthetic_classes
from bundle.data import datalist, folder
from bundle.data.dic_cells import draw_cells
from bundle.data.synthetic import TEST_COUNT, main, make_dataset
from bundle.data.synthetic_classes import make_class_dataset


def content(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def touching(labels: np.ndarray) -> set[int]:
    found: set[int] = set()
    for a, b in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
        contact = (a != b) & (a > 0) & (b > 0)
        found |= set(a[contact].tolist()) | set(b[contact].tolist())
    return found


@pytest.mark.parametrize("seed", range(4))
def test_cells_are_many_connected_and_touch(seed):
    image, labels = draw_cells((256, 256), seed)
    assert image.dtype == np.uint8
    assert labels.dtype == np.uint16
    assert image.shape == labels.shape == (256, 256)
    count = int(labels.max())
    assert 10 <= count <= 25
    assert set(np.unique(labels)) == set(range(count + 1))
    assert all(ndimage.label(labels == cell)[1] == 1 for cell in range(1, count + 1))
    assert len(touching(labels)) > count / 2


def test_gray_value_alone_does_not_tell_cells_apart_but_texture_does():
    """The difficulty of DIC, kept: equal means, and local variation that differs clearly."""
    inside_minus_outside, variation = [], []
    for seed in range(6):
        image, labels = draw_cells((256, 256), seed)
        cells, values = labels > 0, image.astype(float)
        inside_minus_outside.append(values[cells].mean() - values[~cells].mean())
        variation.append(values[cells].std() / values[~cells].std())
        assert image.min() > 0
        assert image.max() < 256
        assert ((image == 0) | (image == 255)).mean() < 0.001
    assert np.abs(inside_minus_outside).max() < 8
    assert min(variation) > 1.5


def test_shading_has_the_direction_of_the_shear():
    """A cell is bright on one side and dark on the other along the diagonal: a derivative, not a brightness."""
    image, labels = draw_cells((256, 256), 3)
    values = ndimage.gaussian_filter(image.astype(float), 1)
    background_side = ndimage.shift(labels, (1, 1), order=0) == 0  # up and left of the pixel lies background
    far_side = ndimage.shift(labels, (-1, -1), order=0) == 0
    cells = labels > 0
    assert values[cells & background_side].mean() > values[cells & far_side].mean() + 10


def test_same_seed_same_bytes_other_seed_other_bytes(tmp_path):
    one, two, other = (tmp_path / name for name in ("one", "two", "other"))
    for root, seed in ((one, 0), (two, 0), (other, 1)):
        assert make_dataset(root, count=2, size=(64, 80), seed=seed) == str(root)
    assert content(one) == content(two)
    assert content(one)["image/000.tif"] != content(other)["image/000.tif"]


def test_files_have_the_documented_names_and_types(tmp_path):
    make_dataset(tmp_path / "d", count=3, size=(64, 80))
    expected = {f"{kind}/{n:03d}.tif" for kind in ("image", "label") for n in range(3)}
    expected |= {f"test/{kind}/{n:03d}.tif" for kind in ("image", "label") for n in range(3, 3 + TEST_COUNT)}
    assert set(content(tmp_path / "d")) == expected | {"synthetic.json"}
    assert tifffile.imread(tmp_path / "d/image/001.tif").dtype == np.uint8
    labels = tifffile.imread(tmp_path / "d/label/001.tif")
    assert labels.dtype == np.uint16
    assert labels.shape == (64, 80)
    items = datalist(tmp_path / "d")
    assert [item["name"] for item in items] == ["000", "001", "002"]
    tests = folder.images(tmp_path / "d/test")
    assert [item["name"] for item in tests] == ["003", "004", "005", "006"]


def test_a_made_data_set_is_left_alone(tmp_path):
    root = tmp_path / "d"
    make_dataset(root, count=1, size=(64, 64))
    times = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    make_dataset(root, count=1, size=[64, 64])
    assert times == {path: path.stat().st_mtime_ns for path in root.rglob("*")}


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "d").mkdir()
    make_dataset(tmp_path / "d", count=1, size=(64, 64))
    assert (tmp_path / "d/image/000.tif").is_file()


def test_foreign_content_is_never_overwritten(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(FileExistsError, match="is no synthetic data set"):
        make_dataset(tmp_path, count=1, size=(64, 64))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_another_recipe_is_refused_and_named(tmp_path):
    make_dataset(tmp_path / "d", count=1, size=(64, 64))
    with pytest.raises(FileExistsError, match="count 1 instead of 2"):
        make_dataset(tmp_path / "d", count=2, size=(64, 64))


def test_a_half_made_folder_is_not_taken_as_done(tmp_path):
    make_dataset(tmp_path / "d", count=1, size=(64, 64))
    (tmp_path / "d/test/label/003.tif").unlink()
    with pytest.raises(FileExistsError, match=r"lacks 1 files.*test/label/003\.tif"):
        make_dataset(tmp_path / "d", count=1, size=(64, 64))
    shutil.rmtree(tmp_path / "d/test")
    (tmp_path / "d" / synthetic.MARKER).unlink()
    with pytest.raises(FileExistsError, match="is no synthetic data set"):
        make_dataset(tmp_path / "d", count=1, size=(64, 64))


def test_a_killed_process_leaves_nothing_under_the_name(tmp_path, monkeypatch):
    def die(size, seed):
        if seed[1] == 2:
            raise KeyboardInterrupt
        return draw_cells(size, seed)

    monkeypatch.setattr(synthetic, "draw_cells", die)
    with pytest.raises(KeyboardInterrupt):
        make_dataset(tmp_path / "d", count=3, size=(64, 64))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("make", "module", "name"),
    [(make_dataset, synthetic, "draw_cells"), (make_class_dataset, synthetic_classes, "draw_objects")],
)
def test_two_at_once_make_one_data_set(make, module, name, tmp_path, monkeypatch):
    """Both find nothing, both draw, one wins; a barrier makes the race certain."""
    barrier = threading.Barrier(2)
    draw = getattr(module, name)

    def meet(size, seed):
        if seed[1] == 0:
            barrier.wait(timeout=30)
        return draw(size, seed)

    monkeypatch.setattr(module, name, meet)
    results: list[object] = []

    def run():
        try:
            results.append(make(tmp_path / "d", count=2, size=(64, 64)))
        except BaseException as error:
            results.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [str(tmp_path / "d")] * 2
    assert [path.name for path in tmp_path.iterdir()] == ["d"]
    monkeypatch.undo()
    make(tmp_path / "alone", count=2, size=(64, 64))
    assert content(tmp_path / "d") == content(tmp_path / "alone")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0}, "count must be an integer of at least 1"),
        ({"size": (64, 63)}, "at least 64 px"),
        ({"size": (64,)}, "a height and a width"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_bad_arguments(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        make_dataset(tmp_path / "d", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_command_line(tmp_path, capsys):
    main([str(tmp_path / "d"), "--count", "1", "--size", "64", "72", "--seed", "5"])
    marker = json.loads((tmp_path / "d" / synthetic.MARKER).read_text())
    assert (marker["count"], marker["size"], marker["seed"]) == (1, [64, 72], 5)
    assert str(tmp_path / "d") in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        main([str(tmp_path / "d")])
    assert end.value.code == 1
    assert "holds another synthetic data set" in capsys.readouterr().err


def test_a_set_of_classes_is_known_again_however_it_was_made(tmp_path):
    root = tmp_path / "c"
    command = [sys.executable, "-m", "bundle.data.synthetic_classes", str(root), "--count", "1", "--size", "64", "64"]
    subprocess.run(command, check=True)
    before = content(root)
    assert make_class_dataset(root, count=1, size=(64, 64)) == str(root)
    assert content(root) == before
    with pytest.raises(FileExistsError, match="holds something else"):
        make_class_dataset(root, count=2, size=(64, 64))

"""Other programs on cells: the files they get, and what is read off what they give."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tifffile
import torch

from benchmarks.peers.cells.export import export, main
from benchmarks.peers.cells.files import UNANNOTATED, read, read_training
from benchmarks.peers.cells.semantic import UNKNOWN, cells_of, cut_apart
from benchmarks.peers.monai_stock import train
from bundle.data.synthetic import draw_cells
from tests.conftest import ROOT

CONFIG = "configs/train.json"


@pytest.fixture
def data(tmp_path):
    """Five images that are not square; the first pixel of each is its number."""
    for number in range(5):
        image, label = (np.array(part) for part in draw_cells((64, 80), [0, number]))
        image[0, 0] = number
        for kind, pixels in (("image", image.astype(np.uint8)), ("label", label.astype(np.uint16))):
            (tmp_path / "data" / kind).mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(tmp_path / "data" / kind / f"{number}.tif", pixels)
    return tmp_path / "data"


def test_the_split_is_that_of_the_training_in_the_pixels_of_the_files(data, tmp_path, workflow, capsys):
    options = {"dataset_dir": str(data), "held_out": 1, "validation": 1}
    counts = export([str(ROOT / CONFIG)], tmp_path / "split", **options)
    assert counts == {"training": 3, "validation": 1, "held_out": 1}
    parsed = workflow(**options).parser.get_parsed_content
    trained = {item["name"] for item in parsed("train#items")}
    assert {path.stem for path in (tmp_path / "split" / "training" / "label").iterdir()} == trained
    for part in counts:
        for file in (tmp_path / "split" / part).glob("*/*.tif"):
            before, after = tifffile.imread(data / file.parent.name / file.name), tifffile.imread(file)
            np.testing.assert_array_equal(after, before)
            assert after.dtype == before.dtype
    with pytest.raises(SystemExit, match="is not empty"):
        main(["--config_file", str(ROOT / CONFIG), "--output_dir", str(tmp_path / "split")])
    with pytest.raises(SystemExit, match="2"):
        main(["--config_file", str(ROOT / CONFIG)])
    assert "the following arguments are required: --output_dir" in capsys.readouterr().err


def test_pixels_without_annotation_are_told_to_programs_that_can_be_and_refused_by_others(data, tmp_path):
    for number in range(5):
        label = tifffile.imread(data / "label" / f"{number}.tif").astype(np.int16)
        label[:5] = -1
        tifffile.imwrite(data / "label" / f"{number}.tif", label)
    export([str(ROOT / CONFIG)], tmp_path / "split", dataset_dir=str(data), held_out=1, validation=1)
    with pytest.raises(SystemExit, match=r"label \d has pixels that are not annotated, of which this program"):
        read_training(tmp_path / "split")
    for image, label in read_training(tmp_path / "split", partly=True).values():
        assert image.shape == label.shape
        assert (label[:5] == UNANNOTATED).all()
        classes = cut_apart(label)
        assert (classes[:5] == UNKNOWN).all()
        np.testing.assert_array_equal(np.unique(classes[5:]), [0, 1])
    (held_out,) = read(tmp_path / "split", "held_out").values()
    assert not held_out[1][:5].any()


def test_basic_unet_does_not_learn_from_what_is_not_annotated():
    """Whatever an image shows there (valid where no convolution mixes pixels), the loss is the same."""
    image = torch.rand(2, 1, 8, 8)
    label = torch.randint(0, 2, (2, 1, 8, 8))
    label[:, :, :3] = UNKNOWN
    other = image.clone()
    other[:, :, :3] = 7

    def losses(pixels):
        torch.manual_seed(0)
        batches = iter([{"image": pixels, "label": label}] * 3)
        return train(torch.nn.Conv2d(1, 2, 1), batches, 0, steps=3, ignore=UNKNOWN)

    assert losses(image) == losses(other)
    assert len(set(losses(image))) == 3


def test_held_out_images_may_have_other_labels_than_those_that_train(tmp_path):
    """A film with silver truth of all frames, and gold truth of four, which leaves pixels out."""
    film = tmp_path / "film"
    for folder in ("01", "01_ST/SEG", "01_GT/SEG", "01_GT/TRA"):
        (film / folder).mkdir(parents=True)
    for frame in range(6):
        image, label = (np.array(part) for part in draw_cells((64, 80), [0, frame]))
        gold = np.where(label == label.max(), 0, label)
        for path, pixels in (
            (film / f"01/t{frame:03}.tif", image.astype(np.uint8)),
            (film / f"01_ST/SEG/man_seg{frame:03}.tif", label.astype(np.uint16)),
            (film / f"01_GT/TRA/man_track{frame:03}.tif", label.astype(np.uint16)),
            *([(film / f"01_GT/SEG/man_seg{frame:03}.tif", gold.astype(np.uint16))] if frame in (0, 2, 3, 5) else []),
        ):
            tifffile.imwrite(path, pixels)
    options = {"dataset_dir": str(film), "fold": 0, "folds": 3, "validation": 0}
    config = [str(ROOT / CONFIG), str(ROOT / "configs/experiments/dic_hela.json")]
    counts = export(config, tmp_path / "split", held_out_labels="gold", **options)
    assert counts == {"training": 4, "validation": 0, "held_out": 1}
    (truth,) = (tmp_path / "split/held_out/label").iterdir()
    np.testing.assert_array_equal(tifffile.imread(truth), tifffile.imread(film / "01_GT/SEG/man_seg000.tif"))
    trained = {file.stem[-3:] for file in (tmp_path / "split/training/label").iterdir()}
    assert trained == {"002", "003", "004", "005"}
    for file in (tmp_path / "split/training/label").iterdir():
        silver = tifffile.imread(film / f"01_ST/SEG/man_seg{file.stem[-3:]}.tif")
        np.testing.assert_array_equal(tifffile.imread(file) > 0, silver > 0)


def test_programs_learn_from_training_and_validation_images(data, tmp_path):
    export([str(ROOT / CONFIG)], tmp_path / "split", dataset_dir=str(data), held_out=1, validation=1)
    learned, measured = read_training(tmp_path / "split"), read(tmp_path / "split", "held_out")
    assert (len(learned), len(measured)) == (4, 1)
    assert not learned.keys() & measured.keys()


@pytest.mark.parametrize("program", ["cellpose", "stardist"])
def test_a_program_that_is_not_installed_says_how_it_is(program, tmp_path):
    peer = [sys.executable, "-m", f"benchmarks.peers.cells.{program}_peer"]
    done = subprocess.run(peer, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {sys.executable} has no ")
    assert f"{program}_env/bin/pip install '{program}==" in done.stderr


def test_touching_cells_are_cut_apart_and_grown_back():
    label = np.zeros((20, 30), np.uint16)
    label[2:18, 2:10], label[2:18, 10:20], label[5:9, 24:28] = 1, 2, 3
    cut = cut_apart(label)
    for number in (1, 2, 3):  # against a look at every neighbour
        for y, x in np.argwhere(label == number):
            around = label[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
            assert cut[y, x] == (not np.any((around > 0) & (around != number)) and not np.any(around == 0))
    found = cells_of(cut.astype(np.float32))
    assert (found > 0)[cut > 0].all()
    assert not found[label == 0].any()
    assert ((found == 0) & (label > 0)).sum() <= 12, "corners only"
    assert len(np.unique(found)) == 4


@pytest.mark.nightly
def test_basic_unet_leaves_cells_that_can_be_measured(data, tmp_path):
    export([str(ROOT / CONFIG)], tmp_path / "split", dataset_dir=str(data), held_out=1, validation=1)
    words = ["--split", str(tmp_path / "split"), "--output_dir", str(tmp_path / "out"), "--minutes", "0.02"]
    peer = [sys.executable, "-m", "benchmarks.peers.cells.basic_unet_peer", *words]
    done = subprocess.run(peer, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    facts = json.loads((tmp_path / "out" / "facts.json").read_text())
    assert facts["steps"] >= 1
    assert facts["cpu_minutes"] >= 0.01
    truth = str(tmp_path / "split" / "held_out" / "label")
    measure = [sys.executable, "-m", "bundle.metrics", "--truth", truth, "--result", str(tmp_path / "out")]
    done = subprocess.run(measure, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    again = subprocess.run(peer, cwd=ROOT, capture_output=True, text=True)
    assert again.returncode == 2
    assert "is not empty: nothing is written over" in again.stderr

"""Other people's recipes: the split, the clock, the files they get, what they leave behind."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from monai.data import MetaTensor
from PIL import Image

from benchmarks.peers import command, monai_stock, nnunet
from benchmarks.peers.clock import timed_steps
from benchmarks.peers.data import parts, truth
from benchmarks.peers.report import measure
from bundle.data.synthetic import draw_cells
from bundle.metrics.isbi2012 import pixel_error, rand_error, v_info, v_rand, warping_error
from tests.conftest import ROOT, table

HELD_OUT = [0, 1, 2, 4, 6]
TRAINING = [3, 5]
SIDE = (64, 80)
MEASURES = ["rand_error", "warping_error", "pixel_error", "v_rand", "v_info", "iou"]


@pytest.fixture(scope="module")
def stack(tmp_path_factory) -> Path:
    """Seven slices of synthetic cells, not square; the first pixel of each is its number."""
    root = tmp_path_factory.mktemp("em")
    drawn = [draw_cells(SIDE, [0, number]) for number in range(7)]
    images = np.stack([np.asarray(image, dtype=np.uint8) for image, _ in drawn])
    images[:, 0, 0] = np.arange(7)
    labels = np.stack([np.where(label > 0, 255, 0).astype(np.uint8) for _, label in drawn])
    for name, pages in (("train-volume.tif", images), ("train-labels.tif", labels)):
        tifffile.imwrite(root / name, pages, photometric="minisblack")
    return root


def slices(items: list[dict]) -> list[int]:
    return [item["slice"] for item in items]


def options(stack: Path, output_dir: Path, **others: object) -> list[str]:
    chosen = {"dataset_dir": stack, "output_dir": output_dir, "minutes": 0.001, "threads": 1, **others}
    return [text for name, value in chosen.items() for text in (f"--{name}", str(value))]


@pytest.fixture(autouse=True)
def _threads():
    """The commands set the threads of the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_the_split_is_that_of_the_em_experiment(tmp_path, workflow):
    for name in ("train-volume.tif", "train-labels.tif"):
        pages = np.zeros((25, 96, 96), dtype=np.uint8)
        pages[:, :48] = 255
        tifffile.imwrite(tmp_path / name, pages, photometric="minisblack")
    ours = workflow(
        "experiments/em.json", dataset_dir=str(tmp_path), output_dir=str(tmp_path / "runs"), validation=3
    ).parser
    theirs = parts(tmp_path, validation=3)
    assert theirs["training"] == ours.get_parsed_content("train#items")
    assert theirs["validation"] == ours.get_parsed_content("validate#items")
    assert slices(theirs["held_out"]) == [4, 5, 13, 18, 23]
    few = workflow(
        *("experiments/em.json", "few.json"), dataset_dir=str(tmp_path), output_dir=str(tmp_path / "few"), few=2, seed=3
    ).parser
    assert parts(tmp_path, few=2, few_seed=3)["training"] == few.get_parsed_content("train#items")
    assert len(few.get_parsed_content("train#items")) == 2
    assert few.get_parsed_content("validate#items") == []
    everything = parts(tmp_path)
    assert everything["validation"] == []
    assert sorted(slices(everything["training"]) + slices(everything["held_out"])) == list(range(25))


def test_truth_has_the_rows_and_columns_of_the_file(stack):
    expected = tifffile.imread(stack / "train-labels.tif")[HELD_OUT] > 0
    np.testing.assert_array_equal(truth(parts(stack)["held_out"]), expected)


@pytest.mark.parametrize(("pace", "count"), [(10.0, 6), (9.0, 7), (11.0, 5), (50.0, 1), (500.0, 1)])
def test_the_clock_ends_within_half_a_step(pace, count):
    """One minute: 7 steps of 9 s are 63 s, 6 are 54; one of 50 s is nearer to 60 s than two."""
    ticks = itertools.count(100.0, pace)
    progress = list(timed_steps(1.0, now=lambda: next(ticks)))
    assert progress == pytest.approx([pace * step / 60 for step in range(count)])
    assert max(progress) < 1


def test_the_learning_rate_follows_the_clock(monkeypatch):
    rates = []

    class Recorder(torch.optim.SGD):
        def step(self, closure=None):
            rates.append(self.param_groups[0]["lr"])

    monkeypatch.setattr(monai_stock.torch.optim, "Adam", Recorder)
    monkeypatch.setattr(monai_stock, "timed_steps", lambda minutes: iter([0.0, 0.5, 0.75]))
    batch = {"image": torch.rand(1, 1, 8, 8), "label": torch.ones(1, 1, 8, 8)}
    losses = monai_stock.train(torch.nn.Conv2d(1, 2, 1), itertools.repeat(batch), minutes=1)
    assert len(losses) == 3
    assert rates == pytest.approx([1e-3, 5e-4, 1e-3 * (1 - np.sqrt(0.5)) / 2])
    rates.clear()
    assert len(monai_stock.train(torch.nn.Conv2d(1, 2, 1), itertools.repeat(batch), minutes=1, steps=2)) == 2
    assert rates == pytest.approx([1e-3, 5e-4])


def test_d4_shows_all_eight_views_and_turns_each_back():
    image = torch.arange(12.0).reshape(1, 1, 3, 4)
    seen = []

    def logits(view):
        seen.append(view)
        return torch.cat([view, 2 * view], dim=1)

    torch.testing.assert_close(monai_stock.d4(logits, image), torch.cat([image, 2 * image], dim=1))
    assert len({(tuple(view.shape), tuple(view.flatten().tolist())) for view in seen}) == 8


def test_measures_are_the_bundles_and_the_truth_comes_first():
    truths = np.stack([draw_cells((64, 64), [3, number])[1] > 0 for number in range(2)])
    noise = np.random.RandomState(0).rand(*truths.shape)
    probability = (0.4 * truths + 0.6 * noise).astype(np.float32)
    cells = probability > 0.5
    expected = {
        "rand_error": rand_error(truths, probability),
        "warping_error": warping_error(truths, probability),
        "pixel_error": pixel_error(truths, probability),
        "v_rand": v_rand(truths, probability),
        "v_info": v_info(truths, probability),
        "iou": np.count_nonzero(truths & cells) / np.count_nonzero(truths | cells),
    }
    assert measure(truths, probability) == expected
    assert expected["rand_error"] != pytest.approx(rand_error(cells, truths.astype(np.float32)))


@pytest.fixture(scope="module")
def trained(stack, tmp_path_factory) -> tuple[Path, str]:
    """MONAI's recipe as a user runs it, for two seconds; its folder and what it printed."""
    output = tmp_path_factory.mktemp("peers")
    line = options(stack, output, minutes=0.03, seed=3, patch_size=32, batch_size=2)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.peers.monai_stock", *line],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return output / "monai_basicunet", done.stdout


@pytest.mark.nightly
def test_monai_leaves_a_result_that_can_be_measured_again(trained, stack):
    folder, _ = trained
    result = json.loads((folder / "result.json").read_text())
    assert (result["minutes"], result["seed"], result["threads"]) == (0.03, 3, 1)
    assert result["settings"]["precision"] == "fp32"
    assert result["provenance"]["package.torch"] == torch.__version__
    assert result["steps"] >= 2
    assert result["seconds_per_step"] == pytest.approx(result["seconds"]["training"] / result["steps"])
    assert {"preparation", "inference, held_out, none", "inference, held_out, d4"} <= set(result["seconds"])
    assert list(result["metrics"]) == ["held_out"]
    truths = tifffile.imread(stack / "train-labels.tif")[HELD_OUT] > 0
    stacks = {"none": "probability.tif", "d4": "probability_d4.tif"}
    assert list(result["metrics"]["held_out"]) == list(stacks)
    for averaging, name in stacks.items():
        probability = tifffile.imread(folder / name)
        assert (probability.shape, probability.dtype) == ((5, *SIDE), np.float32)
        assert result["metrics"]["held_out"][averaging] == pytest.approx(measure(truths, probability))


@pytest.mark.nightly
def test_monai_lists_every_held_out_slice_alone(trained, stack):
    folder, _ = trained
    rows = table(folder / "images.csv")
    assert list(rows[0]) == ["part", "averaging", "image", *MEASURES]
    held_out = [f"train-{number:02d}" for number in HELD_OUT]
    assert [row["image"] for row in rows] == [*held_out, *held_out]
    probability = tifffile.imread(folder / "probability.tif")
    truths = tifffile.imread(stack / "train-labels.tif")[HELD_OUT] > 0
    assert float(rows[2]["pixel_error"]) == pytest.approx(pixel_error(truths[2], probability[2]))


@pytest.mark.nightly
def test_monai_prints_a_row_of_a_table(trained):
    folder, printed = trained
    result = json.loads((folder / "result.json").read_text())
    (row,) = [line for line in printed.splitlines() if line.startswith("| monai_basicunet, none")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1] == "5 held out"
    assert cells[3] == str(result["steps"])
    assert cells[4] == f"{result['metrics']['held_out']['none']['rand_error']:.4f}"


@pytest.mark.parametrize(("validation", "training"), [(0, {3, 5}), (1, {5})])
def test_monai_trains_on_the_training_slices_alone(validation, training, stack, tmp_path, monkeypatch):
    """Held-out and validation slices are not even on disk, and have not been read, when training ends."""
    seen: set[int] = set()
    read: set[int] = set()
    load = monai_stock.LoadImaged.__call__

    def note(self, data, reader=None):
        loaded = load(self, data, reader)
        read.add(int(loaded["image"][0, 0]))
        return loaded

    def train(network, batches, minutes, precision, steps):
        written = {int(np.asarray(Image.open(path))[0, 0]) for path in tmp_path.rglob("image/*.png")}
        labels = {path.stem for path in tmp_path.rglob("label/*.png")}
        assert labels == {f"train-{number:02d}" for number in written}
        assert isinstance(next(batches)["image"], MetaTensor)
        assert written == read == training
        seen.update(written)
        return [1.0]

    monkeypatch.setattr(monai_stock.LoadImaged, "__call__", note)
    monkeypatch.setattr(monai_stock, "train", train)
    assert monai_stock.main(options(stack, tmp_path, validation=validation, patch_size=32)) == 0
    assert seen == training
    assert read == set(range(7))
    result = json.loads((tmp_path / "monai_basicunet" / "result.json").read_text())
    assert result["slices"]["training"] == [f"train-{number:02d}" for number in sorted(training)]
    assert list(result["metrics"]) == ["held_out", "validation"][: 1 + validation]


def test_the_label_is_cropped_and_deformed_with_its_image(stack, tmp_path):
    """An image that is its own label, but for grey values, stays so."""
    label = tifffile.imread(stack / "train-labels.tif")[0] // 255
    paths = {key: str(tmp_path / f"{key}.png") for key in ("image", "label")}
    for path in paths.values():
        Image.fromarray(label).save(path)
    augment = monai_stock.Compose([*monai_stock.load(("image", "label")), *monai_stock.augment(48)])
    augment.set_random_state(0)
    for _ in range(8):
        sample = augment(paths)
        assert sample["image"].shape == sample["label"].shape == (1, 48, 48)
        assert set(np.unique(sample["label"])) <= {0, 1}
        cells = sample["image"] > (sample["image"].max() + sample["image"].min()) / 2
        assert (cells == (sample["label"] > 0)).float().mean() > 0.98


def test_nnunet_gets_a_data_set_in_its_own_format(stack, tmp_path):
    images = tifffile.imread(stack / "train-volume.tif")
    labels = tifffile.imread(stack / "train-labels.tif")
    split = parts(stack)
    nnunet.write_dataset(tmp_path, split["training"], split["held_out"])
    expected = {f"imagesTr/train-{n:02d}_0000.png": images[n] for n in TRAINING}
    expected |= {f"labelsTr/train-{n:02d}.png": labels[n] // 255 for n in TRAINING}
    expected |= {f"imagesTs/train-{n:02d}_0000.png": images[n] for n in HELD_OUT}
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png")} == set(expected)
    for name, pixels in expected.items():
        found = np.asarray(Image.open(tmp_path / name))
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, pixels)
    assert json.loads((tmp_path / "dataset.json").read_text()) == {
        "channel_names": {"0": "EM"},
        "labels": {"background": 0, "cell": 1},
        "numTraining": 2,
        "file_ending": ".png",
    }


def test_nnunet_predictions_are_measured_on_their_slices(stack, tmp_path, monkeypatch):
    """A stand-in for nnU-Net that knows the truth: the order of slices, classes and axes must fit for no error."""
    labels = tifffile.imread(stack / "train-labels.tif") / np.float32(255)

    def run_driver(python, folder, job):
        assert python == "some-python"
        assert (job["minutes"], job["seed"], job["threads"], job["gpu_memory_target"]) == (0.001, 0, 1, None)
        Path(job["predictions"]).mkdir()
        for image in Path(job["images"]).glob("*_0000.png"):
            cell = labels[int(image.name[6:8])]
            case = image.name.removesuffix("_0000.png")
            np.savez(f"{job['predictions']}/{case}.npz", probabilities=np.stack([1 - cell, cell])[:, None])
        facts = {"steps": 2, "losses": [1.0, 0.5], "seconds": {"training": 3.0}, "settings": {}, "versions": {"a": "1"}}
        return {**facts, "cpu_minutes": 0.05}

    monkeypatch.setattr(nnunet, "require_nnunet", lambda python: None)
    monkeypatch.setattr(nnunet, "run_driver", run_driver)
    assert nnunet.main(options(stack, tmp_path, validation=1, nnunet_python="some-python")) == 0
    result = json.loads((tmp_path / "nnunet_2d" / "result.json").read_text())
    assert result["versions"] == {"a": "1"}
    assert result["seconds_per_step"] == 1.5
    assert result["cpu_minutes"] == 0.05
    for part in ("held_out", "validation"):
        assert result["metrics"][part]["mirroring"]["pixel_error"] == 0
        assert result["metrics"][part]["mirroring"]["iou"] == 1
    assert (tmp_path / "nnunet_2d" / "probability.tif").is_file()
    assert (tmp_path / "nnunet_2d" / "validation_probability.tif").is_file()


def test_nnunet_that_fails_says_where_to_look(tmp_path):
    fails = tmp_path / "python"
    fails.write_text("#!/bin/sh\necho one; echo out of memory >&2; exit 3\n")
    fails.chmod(0o755)
    job = {"threads": 1}
    with pytest.raises(command.PeerError, match=r"failed with status 3: out of memory .*log\.txt"):
        nnunet.run_driver(str(fails), tmp_path, job)
    assert json.loads((tmp_path / "job.json").read_text()) == job


def nnunet_python() -> str | None:
    """A Python that has nnU-Net: the one that SEAMLESS_NNUNET_PYTHON names, or this one."""
    python = os.environ.get("SEAMLESS_NNUNET_PYTHON", sys.executable)
    done = subprocess.run([python, "-c", "import nnunetv2"], capture_output=True)
    return python if done.returncode == 0 else None


@pytest.mark.nightly
def test_nnunet_runs(stack, tmp_path):
    python = nnunet_python()
    if python is None:
        pytest.skip("neither this Python nor SEAMLESS_NNUNET_PYTHON has nnunetv2")
    line = options(stack, tmp_path, validation=1, nnunet_python=python)
    assert nnunet.main(line) == 0
    folder = tmp_path / "nnunet_2d"
    result = json.loads((folder / "result.json").read_text())
    assert result["steps"] >= 1
    assert result["versions"]["nnunetv2"]
    assert list(result["metrics"]) == ["held_out", "validation"]
    assert tifffile.imread(folder / "probability.tif").shape == (5, *SIDE)
    preprocessed = {path.stem for path in (folder / "nnUNet_preprocessed").rglob("nnUNetPlans_2d/*.pkl")}
    assert preprocessed == set(result["slices"]["training"])


@pytest.mark.parametrize(
    ("peer", "wrong", "status", "said"),
    [
        ("monai", {"minutes": 0}, 2, "--minutes must be above 0 and finite, got 0.0"),
        ("monai", {"minutes": "nan"}, 2, "--minutes must be above 0 and finite, got nan"),
        ("monai", {"threads": 0}, 2, "--threads must be at least 1, got 0"),
        ("monai", {"seed": -1}, 2, "--seed must be within 0 .. 2^32 - 1, got -1"),
        ("monai", {"name": "../up"}, 2, "--name must be letters, digits"),
        ("monai", {"dataset_dir": "nowhere"}, 1, "error: dataset_dir 'nowhere' is no folder"),
        ("monai", {"validation": 2}, 1, "error: validation must be 0 to 1 of 2 items, got 2"),
        ("monai", {"patch_size": 16}, 1, "error: patch_size must be at least 32 px (four poolings), got 16"),
        ("monai", {"few": 3}, 1, "error: few must be 0 to 1 of 2 items, got 3"),
        ("monai", {"steps": -1}, 1, "error: steps must be at least 1, or 0 for --minutes, got -1"),
        ("monai", {"batch_size": 0}, 1, "error: batch_size must be at least 1, got 0"),
        ("nnunet", {"nnunet_python": "no-such-python"}, 1, "'no-such-python' cannot import nnunetv2"),
        ("nnunet", {"nnunet_python": sys.executable}, 1, "nnunet_env/bin/pip install torch nnunetv2"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(peer, wrong, status, said, stack, tmp_path, capsys):
    if wrong.get("nnunet_python") == sys.executable and nnunet_python() == sys.executable:
        pytest.skip("this Python has nnunetv2")
    main = {"monai": monai_stock, "nnunet": nnunet}[peer].main
    with pytest.raises(SystemExit) as caught:
        main(options(stack, tmp_path, **wrong))
    assert caught.value.code == status
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_a_result_is_not_written_over(stack, tmp_path, capsys):
    kept = tmp_path / "monai_basicunet" / "result.json"
    kept.parent.mkdir()
    kept.write_text("{}")
    with pytest.raises(SystemExit):
        monai_stock.main(options(stack, tmp_path))
    assert "holds a run already: give another --name" in capsys.readouterr().err
    assert [path.name for path in kept.parent.iterdir()] == ["result.json"]


def test_too_few_slices(tmp_path):
    for name in ("train-volume.tif", "train-labels.tif"):
        tifffile.imwrite(tmp_path / name, np.zeros((5, 8, 8), dtype=np.uint8), photometric="minisblack")
    with pytest.raises(ValueError, match="has 5 slices, at least 6 are needed: 5 are held out"):
        parts(tmp_path)


def test_pixels_that_are_not_8_bit_are_refused(tmp_path):
    for name in ("train-volume.tif", "train-labels.tif"):
        tifffile.imwrite(tmp_path / name, np.full((6, 8, 8), 300, dtype=np.uint16), photometric="minisblack")
    with pytest.raises(ValueError, match=r"train-volume\.tif: its pixels must be whole numbers of 0 to 255, slice"):
        monai_stock.write_image(parts(tmp_path)["training"][0], tmp_path / "image.png")

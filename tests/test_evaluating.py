"""Measuring a checkpoint, choosing how its cells are read, and choosing the checkpoint, through the configs."""

import json
import shutil

import pytest
import tifffile

from bundle.model import checkpoints
from tests.conftest import TINY, said_by, table

CHOICE = ["configs/train.json", "configs/evaluate.json", "configs/choose_cells.json"]


def summary(folder):
    return {row["metric"]: float(row["value"]) for row in table(folder / "summary.csv")}


def test_evaluating_measures_what_the_validation_measured(workflow, tmp_path):
    options = {"run_name": "measured", "max_epochs": 1, "held_out": 1}
    workflow(**options).run()
    best = checkpoints.read(tmp_path / "runs" / "measured" / "last.pt")["best_metric"]
    evaluation = {"run_id": "evaluating", "evaluation_dir": str(tmp_path / "evaluation")}
    workflow("evaluate.json", **options, **evaluation).run()
    assert summary(tmp_path / "evaluation")["loss"] == pytest.approx(best, rel=1e-5)
    (seen,) = table(tmp_path / "evaluation" / "images.csv")
    evaluation["evaluation_dir"] = str(tmp_path / "other")
    workflow("evaluate.json", **options, **evaluation, part="held_out").run()
    (unseen,) = table(tmp_path / "other" / "images.csv")
    assert seen["image"] != unseen["image"]
    for row, folder in ((seen, "evaluation"), (unseen, "other")):
        (picture,) = (tmp_path / folder / "pictures").glob("*.png")
        assert picture.name.startswith(row["image"])
        assert row.keys() - {"image"} == summary(tmp_path / folder).keys()


@pytest.mark.nightly
def test_another_film(workflow, tmp_path):
    options = {"run_name": "film", "max_epochs": 1}
    workflow(**options).run()
    changes = {
        "same": {},
        "zoom": {"zoom": 0.5},
        "blur": {"blur": 2.0},
        "gamma": {"gamma": 2.0},
        "noise": {"noise": 0.5},
    }
    losses = {}
    for name, change in {"plain": {}, **changes}.items():
        files = ("evaluate.json",) if name == "plain" else ("evaluate.json", "other_film.json")
        folder = tmp_path / name
        workflow(*files, **options, **change, run_id="evaluating", evaluation_dir=str(folder)).run()
        losses[name] = summary(folder)["loss"]
    assert losses["same"] == pytest.approx(losses["plain"], rel=2e-5)  # standardised twice
    assert all(losses[name] != pytest.approx(losses["plain"], rel=1e-4) for name in changes if name != "same"), losses


def test_evaluating_nothing_says_so(workflow, tmp_path):
    workflow(run_name="x", max_epochs=1).run()
    evaluation = {"run_id": "evaluating", "evaluation_dir": str(tmp_path / "evaluation"), "part": "held_out"}
    assert "held_out" in said_by(workflow("evaluate.json", **evaluation).run)


def test_an_evaluation_refuses_images_that_the_network_has_seen(workflow, tmp_path):
    options = {"run_name": "seen", "max_epochs": 1, "held_out": 1}
    workflow(**options).run()
    card = json.loads((tmp_path / "model.json").read_text())
    assert card["result"].items() >= {"epochs": 1, "best_epoch": 1}.items()
    assert card["config"]["held_out"] == 1
    evaluation = {"run_id": "evaluating", "evaluation_dir": str(tmp_path / "evaluation"), "part": "held_out"}
    for checkpoint in (tmp_path / "model.pt", tmp_path / "runs" / "seen" / "best.pt"):
        message = said_by(
            workflow("evaluate.json", held_out=2, split_seed=1, checkpoint=str(checkpoint), **evaluation).run
        )
        assert "that " + str(checkpoint) + " has seen" in message
        assert "--held_out 1" in message
    workflow("evaluate.json", held_out=1, **evaluation).run()


def test_any_metric_chooses_the_best_network_and_ends_the_training(workflow, tmp_path):
    # without learning no epoch is better than the first, whichever metric decides
    still = {"optimizer#lr": 1e-30, "network_def#norm": None, "max_epochs": 6, "patience": 2}
    for name in ("warping_error", "seg"):
        workflow(run_name=name, best_by=name, **still).run()
        content = checkpoints.read(tmp_path / "runs" / name / "last.pt")
        assert (content["epoch"], content["best_epoch"]) == (3, 1)
    assert "best_by must be one of loss, seg, f1, iou" in said_by(workflow(best_by="dice").run)


@pytest.fixture(scope="module")
def model(bundle_run, cells, tmp_path_factory):
    """A model file of a tiny training over the command line."""
    folder = tmp_path_factory.mktemp("trained")
    options = {"dataset_dir": str(cells), "output_dir": str(folder / "runs"), "model_file": str(folder / "model.pt")}
    result = bundle_run("training", "configs/train.json", **{**TINY, **options})
    assert result.returncode == 0, result.stderr
    return folder / "model.pt"


@pytest.mark.slow
def test_choosing_writes_an_overlay_that_inference_takes(model, bundle_run, cells, tmp_path):
    options = {
        "dataset_dir": str(cells),
        "output_dir": str(tmp_path / "runs"),
        "evaluation_dir": str(tmp_path / "choice"),
        "checkpoint": str(model),
        "depth": 2,
        "cells#min_size": 7,
        "cells#split_by": "$None",
    }
    result = bundle_run("choosing", CHOICE, **options)
    assert result.returncode == 0, result.stderr
    assert "cells are read with threshold 0." in result.stdout + result.stderr
    rows = table(tmp_path / "choice" / "choice.csv")
    assert {(row["min_size"], row["split_by"]) for row in rows} == {("7", "")}
    chosen = json.loads((tmp_path / "choice" / "cells.json").read_text())
    assert chosen == chosen | {"cells#min_size": 7, "cells#threshold": float(rows[0]["threshold"])}
    assert bundle_run("choosing", CHOICE, **options, part="held_out", held_out=1).returncode != 0

    strict = tmp_path / "strict.json"
    chosen["cells#min_size"] = 10**6
    strict.write_text(json.dumps(chosen))
    for overlay in (tmp_path / "choice" / "cells.json", strict):
        result = bundle_run(
            "run",
            ["configs/inference.json", str(overlay)],
            dataset_dir=str(cells / "test"),
            output_dir=str(tmp_path / overlay.stem),
            checkpoint=str(model),
        )
        assert result.returncode == 0, result.stderr
    assert all(tifffile.imread(path).max() == 0 for path in (tmp_path / "strict").glob("*_cells.tif"))


@pytest.mark.nightly
@pytest.mark.parametrize("validation", [3, 1])
def test_two_processes_measure_what_one_measures(validation, model, bundle_run, cells, tmp_path):
    alone = shutil.copy(model, tmp_path / "alone.pt")  # nothing beside it tells that it has seen these images
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    for name, overlays, launch in (
        ("one", ["configs/evaluate.json"], ()),
        ("two", ["configs/multi_gpu_train.json", "configs/evaluate.json"], launcher),
    ):
        result = bundle_run(
            "evaluating",
            ["configs/train.json", *overlays],
            launcher=launch,
            dataset_dir=str(cells),
            output_dir=str(tmp_path / "runs"),
            evaluation_dir=str(tmp_path / name),
            checkpoint=str(alone),
            validation=validation,
            depth=2,
        )
        assert result.returncode == 0, result.stderr
    one, two = tmp_path / "one", tmp_path / "two"
    assert len(table(one / "images.csv")) == validation
    assert (one / "images.csv").read_text() == (two / "images.csv").read_text()
    assert summary(two) == pytest.approx(summary(one), rel=1e-6)

"""What version 0.1.0 left behind works for ever: networks and their cards, runs, stores, studies and label apps.

tests/data/legacy/README.md says what made each of them. The command lines here are those of that version.
"""

from __future__ import annotations

import csv
import importlib
import json
import re
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from monai.bundle import ConfigWorkflow
from PIL import Image

from tests.conftest import ROOT, inference

LEGACY = ROOT / "tests" / "data" / "legacy"
#: options of the run that was killed; "fold" and "seed" are among what must not change
KILLED = {
    "run_name": "killed",
    "folds": 3,
    "fold": 0,
    "base_channels": 2,
    "depth": 2,
    "tile_size": 60,
    "precision": "fp32",
    "max_epochs": 2,
    "samples_per_epoch": 60,
    "elastic#sigma": 2.0,
}
#: what docs/usage.md of that version imports: the one name of ours that is used here
INFERER = ("bundle.inference.overlap_tile", "OverlapTileInferer")
#: history.csv of the killed run has it for every step, and so it must go on
LOSS = "train/loss"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def unpack(archive: str, folder: Path) -> None:
    """A copy to work on; stores become databases again, which know where they lie."""
    with tarfile.open(LEGACY / archive) as tar:
        tar.extractall(folder, filter="data")
    for dump in list(folder.rglob("*.sql")):
        with closing(sqlite3.connect(dump.with_suffix(".db"))) as store:
            store.executescript(dump.read_text().replace("{FOLDER}", folder.as_posix()))
        dump.unlink()


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def messages(error: BaseException | None) -> str:
    """Of an error and of all behind it."""
    found = []
    while error is not None:
        found.append(str(error))
        error = error.__cause__ or error.__context__
    return "\n".join(found)


def run(flow: ConfigWorkflow) -> None:
    flow.initialize()
    flow.run()


def segment(checkpoint: Path, images: Path, output: Path, **options: Any) -> None:
    """As ``python -m monai.bundle run --config_file configs/inference.json`` does."""
    options = {"checkpoint": checkpoint, "device": "cpu", "precision": "fp32", **options}
    flow = inference(dataset_dir=images, output_dir=output, **options)
    flow.run()
    flow.finalize()


def require_as_before(output: Path, name: str) -> None:
    """Probabilities and cells of version 0.1.0; none of its probabilities is within 1e-4 of the threshold."""
    (probability,) = output.glob("*_probability.tif")
    (cells,) = output.glob("*_cells.tif")
    with np.load(LEGACY / "expected" / f"{name}.npz") as expected:
        np.testing.assert_allclose(tifffile.imread(probability), expected["probability"], rtol=0, atol=1e-5)
        np.testing.assert_array_equal(tifffile.imread(cells), expected["cells"])
        assert expected["cells"].max() > 4
        (row,) = rows(output / "summary.csv")
        assert int(row["cells"]) == expected["cells"].max()
    assert len(list(output.glob("*_overlay.png"))) == 1


@pytest.mark.parametrize(
    ("name", "target", "options"),
    [
        ("unet", "bundle.networks.UNet", {"tile_size": 60}),
        ("dcn", "bundle.networks.DCN", {"tile_size": 96}),
        ("window_cnn", "bundle.networks.WindowCNN", {"tile_size": 100, "cells#threshold": 0.674}),
        ("early", None, {"tile_size": 60}),  # its card names no network, and an option of cells that nobody knows
    ],
)
def test_a_network_with_its_card_segments_as_before(
    name: str, target: str | None, options: dict[str, Any], tmp_path: Path
) -> None:
    unpack("models.tar.xz", tmp_path)
    card = json.loads((tmp_path / "models" / f"{name}.json").read_text())
    assert card.get("network", {}).get("_target_") == target
    segment(tmp_path / "models" / f"{name}.pt", LEGACY / "new", tmp_path / "out", **options)
    require_as_before(tmp_path / "out", name)


def test_a_checkpoint_in_the_folder_of_its_run_segments_as_before(tmp_path: Path) -> None:
    for archive in ("runs.tar.xz", "models.tar.xz"):
        unpack(archive, tmp_path)
    (tmp_path / "models/unet.pt").rename(tmp_path / "runs/unet/best.pt")  # the same bytes, kept once
    segment(tmp_path / "runs/unet/best.pt", LEGACY / "new", tmp_path / "out", tile_size=60)
    require_as_before(tmp_path / "out", "unet")


def test_a_torchscript_export_goes_through_the_inferer(tmp_path: Path) -> None:
    unpack("models.tar.xz", tmp_path)
    inferer = getattr(importlib.import_module(INFERER[0]), INFERER[1])(tile_size=60)
    network = torch.jit.load(str(tmp_path / "models/unet.ts")).eval()
    gray = np.asarray(Image.open(LEGACY / "new" / "cells.png"), dtype=np.float32)
    image = torch.from_numpy((gray.T - gray.mean()) / gray.std())[None, None]  # axes (x, y), as MONAI reads
    with torch.no_grad():
        logits = inferer(image, network)
    with np.load(LEGACY / "expected" / "unet.npz") as expected:
        np.testing.assert_allclose(logits.softmax(1)[0, 1].T.numpy(), expected["probability"], rtol=0, atol=1e-5)


def test_what_it_was_trained_on_is_not_held_out(tmp_path: Path) -> None:
    """The card of version 0.1.0 tells images by their pixels; held out was fold 0."""
    unpack("models.tar.xz", tmp_path)
    flow = ConfigWorkflow(
        [str(ROOT / "configs" / name) for name in ("train.json", "evaluate.json")],
        run_id="evaluating",
        logging_file=False,
        bundle_root=str(ROOT),
        dataset_dir=str(LEGACY / "data"),
        output_dir=str(tmp_path / "runs"),
        evaluation_dir=str(tmp_path / "evaluation"),
        checkpoint=str(tmp_path / "models/unet.pt"),
        part="held_out",
        folds=3,
        fold=1,
        precision="fp32",
    )
    with pytest.raises(RuntimeError) as caught:
        run(flow)
    told = messages(caught.value)
    assert "'held_out' has 1 of 2 images that" in told or "'held_out' has 2 of 2 images that" in told
    assert "(trained on)" in told
    assert "--fold 0 --folds 3" in told


#: the default recipe of version 0.1.0
THEN = ["configs/train.json", "configs/ablation/sgd.json"]


def killed(folder: Path, **changed: object) -> dict[str, Any]:
    places = {"dataset_dir": LEGACY / "data", "output_dir": folder / "runs", "model_file": folder / "model.pt"}
    return {**{name: str(path) for name, path in places.items()}, **KILLED, "resume": "true", **changed}


def test_a_run_that_was_killed_in_the_middle_of_an_epoch_goes_on(bundle_run: Any, tmp_path: Path) -> None:
    unpack("runs.tar.xz", tmp_path)
    run_dir = tmp_path / "runs/killed"
    (run_id,) = (run_dir / "mlflow_run_id.txt").read_text().split()
    before = [row for row in rows(run_dir / "history.csv") if row["name"] == LOSS]
    done = bundle_run("training", THEN, **killed(tmp_path))
    assert done.returncode == 0, done.stderr
    last = torch.load(run_dir / "last.pt", weights_only=True)
    assert (last["epoch"], last["iteration"]) == (2, 120)

    # as the same run that nobody interrupted, up to what processors round differently
    steps = [row for row in rows(run_dir / "history.csv") if row["name"] == LOSS]
    assert steps[: len(before)] == before
    network = torch.load(tmp_path / "model.pt", weights_only=True)
    with np.load(LEGACY / "expected" / "uninterrupted.npz") as expected:
        found = [[int(row["iteration"]), float(row["value"])] for row in steps]
        np.testing.assert_allclose(found, expected["loss"], rtol=0, atol=1e-3)
        for name, value in network.items():
            np.testing.assert_allclose(value.numpy(), expected[name], rtol=0, atol=1e-3, err_msg=name)
    with closing(sqlite3.connect(tmp_path / "runs/mlflow.db")) as store:
        assert store.execute("SELECT run_uuid, status FROM runs WHERE name = 'killed'").fetchall() == [
            (run_id, "FINISHED")
        ]


def test_it_does_not_go_on_with_another_fold(bundle_run: Any, tmp_path: Path) -> None:
    unpack("runs.tar.xz", tmp_path)
    kept = {file: file.read_bytes() for file in (tmp_path / "runs/killed").glob("*.pt")}
    done = bundle_run("training", THEN, **killed(tmp_path, fold=1))
    assert done.returncode != 0
    assert "runs/killed/last.pt belongs to a run with other settings (fold 1 instead of 0)" in done.stderr
    assert "Traceback" not in done.stderr
    assert {file: file.read_bytes() for file in kept} == kept
    assert not (tmp_path / "model.pt").exists()


def test_with_todays_recipe_it_says_which_one_it_began_with(bundle_run: Any, tmp_path: Path) -> None:
    unpack("runs.tar.xz", tmp_path)
    done = bundle_run("training", "configs/train.json", **killed(tmp_path))
    assert done.returncode != 0
    assert "optimizer has other settings (lr 0.001 instead of 0.02" in done.stderr
    assert "repeat its command (with configs/ablation/sgd.json right behind train.json, if" in done.stderr


@pytest.mark.parametrize(
    ("option", "value", "before"),
    [
        ("seed", 5, 0),
        ("folds", 2, 3),
        ("split_seed", 1, 0),
        ("held_out", 1, 0),
        ("validation", 0.5, 0.2),
        ("blocks", True, False),
        ("best_by", "iou", "loss"),
        ("samples_per_epoch", 30, 60),
        ("optimizer#lr", 0.5, 0.02),
        ("optimizer#momentum", 0.5, 0.99),
    ],
)
def test_it_does_not_go_on_with_other_settings(option: str, value: object, before: object, tmp_path: Path) -> None:
    """In this process: what is kept of the settings is told apart as on the command line."""
    unpack("runs.tar.xz", tmp_path)
    kept = {file: file.read_bytes() for file in (tmp_path / "runs/killed").glob("*.pt")}
    options = {**killed(tmp_path, **{option: value}), "bundle_root": str(ROOT), "device": "cpu"}
    files = [str(ROOT / file) for file in THEN]
    flow = ConfigWorkflow(files, run_id="training", logging_file=False, **options)
    with pytest.raises(RuntimeError) as caught:
        run(flow)
    assert f"{option.rpartition('#')[2]} {value} instead of {before}" in messages(caught.value)
    assert {file: file.read_bytes() for file in kept} == kept
    assert not (tmp_path / "model.pt").exists()


def test_a_store_makes_its_report(python_m: Any, tmp_path: Path) -> None:
    unpack("runs.tar.xz", tmp_path)
    store = f"sqlite:///{tmp_path.as_posix()}/runs/mlflow.db"
    done = python_m("bundle.report", "--tracking_uri", store, "--output", tmp_path / "report")
    assert done.returncode == 0, done.stderr
    found = {(row["table"], row["name"]): row for row in rows(tmp_path / "report/runs.csv")}
    expected = {(row["table"], row["name"]): row for row in rows(LEGACY / "expected" / "runs.csv")}
    assert found.keys() == expected.keys()
    for name, row in expected.items():  # columns and order may be others; no value may be lost
        values = {value for column, value in row.items() if column != "row"}
        assert values <= {*found[name].values(), ""}, name
    page = (tmp_path / "report/index.html").read_text()
    assert all(name in page for name in ("unet", "dcn", "window_cnn", "killed"))
    assert re.findall('data-image="([^"]*)"', page) == ["004"]  # of an artifact of the evaluation
    assert "data:image/jpeg;base64," in page


@pytest.mark.nightly
def test_a_study_goes_on_without_training_anything_again(python_m: Any, tmp_path: Path) -> None:
    """One evaluation is missing: it is made, with the network that was trained then, and gives the same values."""
    unpack("study.tar.xz", tmp_path)
    table = tmp_path / "study/tiny/study.csv"
    expected = rows(table)
    evaluation = tmp_path / "study/tiny-border-s1/evaluation/held_out-none"
    for file in evaluation.iterdir():
        file.unlink()
    evaluation.rmdir()
    table.unlink()
    models = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.pt")}
    places = ("--dataset_dir", LEGACY / "data", "--output_dir", tmp_path / "study")
    done = python_m("bundle.studies", "--study", LEGACY / "tiny.json", *places)
    assert done.returncode == 2  # of the default recipe, which was another one then
    assert "configs/ablation/sgd.json right behind train.json" in done.stdout + done.stderr
    study = json.loads((LEGACY / "tiny.json").read_text())
    study["config_files"].insert(1, "configs/ablation/sgd.json")
    (tmp_path / "tiny.json").write_text(json.dumps(study))
    done = python_m("bundle.studies", "--study", tmp_path / "tiny.json", *places)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall("monai.bundle run evaluating", done.stdout)) == 1
    assert "monai.bundle run training" not in done.stdout
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.pt")} == models
    for new, old in zip(rows(table), expected, strict=True):
        old["tta"] = old.pop("averaging")  # the one column that has another name today
        again = (old["variant"], old["seed"]) == ("border", "1")
        varies = ("value", "run_id") if again else ()
        assert {k: v for k, v in new.items() if k not in varies} == {k: v for k, v in old.items() if k not in varies}
        assert float(new["value"]) == pytest.approx(float(old["value"]), abs=1e-3)
    assert {"summary.csv", "summary.md", "chart.png", "chart.svg"} <= {p.name for p in table.parent.iterdir()}


def test_the_folder_of_a_label_app_is_renewed_with_its_model(python_m: Any, tmp_path: Path) -> None:
    """What ``make label`` does before it starts the server."""
    unpack("models.tar.xz", tmp_path)
    folder = tmp_path / "app/model/cells"
    model = (folder / "models/model.pt").read_bytes()
    done = python_m("label_app.prepare", "--app", tmp_path / "app", "--option", "samples_per_epoch=4")
    assert done.returncode == 0, done.stderr
    assert re.search(rf"{folder / 'models/model.pt'}.*: seamless-unet, trained on 3 images", done.stderr)
    assert (folder / "models/model.pt").read_bytes() == model
    config = json.loads((folder / "configs/train.json").read_text())
    assert (config["base_channels"], config["depth"]) == (4, 2)  # as its card says
    assert (config["cells"]["threshold"], config["cells"]["min_size"]) == (0.45, 12)
    segment(folder / "models/model.pt", LEGACY / "new", tmp_path / "out", tile_size=60)
    require_as_before(tmp_path / "out", "unet")

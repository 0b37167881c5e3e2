"""Several classes through the configs: train, evaluate, choose, infer, resume and export, as a user does."""

import json
import shutil

import mlflow
import numpy as np
import pytest
import tifffile
import torch
from monai.bundle import ConfigWorkflow, ckpt_export
from PIL import Image

from bundle.data.synthetic_classes import NAMES, make_class_dataset
from bundle.model import TrainedNetwork, checkpoints
from bundle.output.pictures import classes_of
from tests.conftest import ROOT, TINY, inference, said_by, table

SMALL = {**TINY, "max_epochs": 1, "validation": 1}


@pytest.fixture(scope="module", params=["instances+classes", "classes"])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def data(kind, tmp_path_factory):
    return make_class_dataset(tmp_path_factory.mktemp("classes") / "data", count=4, size=(96, 100), truth=kind)


def workflow(folder, data, *overlays, **options):
    files = [str(ROOT / "configs" / name) for name in ("train.json", *overlays)]
    places = {"output_dir": str(folder / "runs"), "model_file": str(folder / "model.pt"), "bundle_root": str(ROOT)}
    places["dataset_dir"] = str(data)
    made = ConfigWorkflow(files, logging_file=False, **{**SMALL, **places, **options})
    made.initialize()
    return made


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory, bundle_run, kind):
    """By the command line once, where the name of the truth is recognised."""
    folder = tmp_path_factory.mktemp("trained")
    places = {"dataset_dir": data, "output_dir": str(folder / "runs"), "model_file": str(folder / "model.pt")}
    options = {**SMALL, **places, "run_name": "first", "best_by": "iou/mean", "class_weights": "dataset"}
    if kind == "classes":
        result = bundle_run("training", "configs/train.json", **options)
        assert result.returncode == 0, result.stderr
        assert "(class_weights dataset, counted over 3 images)" in result.stdout + result.stderr
    else:
        workflow(folder, data, **options).run()
    return folder


def test_training_leaves_names_metrics_and_pictures(trained, kind):
    network = TrainedNetwork(trained / "model.pt")
    assert (network.classes.names, network.classes.kind) == (NAMES, kind)
    assert network.definition()[1]["out_channels"] == 4
    client = mlflow.MlflowClient(f"sqlite:///{trained / 'runs' / 'mlflow.db'}")
    (run,) = [run for e in client.search_experiments() for run in client.search_runs(e.experiment_id)]
    for name in (*NAMES, "mean"):
        assert 0 <= run.data.metrics[f"val/iou/{name}"] <= 1
        assert {f"val/dice/{name}", f"val/seg/{name}"} - {"val/seg/background"} <= set(run.data.metrics)
    pictures = trained / "runs" / "first" / "pictures"
    head, *rows = (pictures / "confusion.csv").read_text().splitlines()
    assert head == "true," + ",".join(NAMES)
    assert sum(int(cell) for row in rows for cell in row.split(",")[1:]) == 96 * 100
    assert (pictures / "confusion.png").is_file()
    (panel,) = pictures.glob("*_0001.png")
    assert classes_of(Image.open(panel)) == list(NAMES)


def test_inference_writes_every_class(trained, data, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(f"{data}/test/image/004.tif", folder)
    flow = inference(checkpoint=trained / "model.pt", dataset_dir=folder, output_dir=tmp_path / "out")
    flow.run()
    flow.finalize()
    probability = tifffile.imread(tmp_path / "out" / "004_probability.tif")
    assert probability.shape == (4, 96, 100)
    np.testing.assert_allclose(probability.sum(axis=0), 1, atol=1e-5)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "004_classes.tif"), probability.argmax(axis=0))
    cells = tifffile.imread(tmp_path / "out" / "004_cells.tif")
    rows = table(tmp_path / "out" / "004_cells.csv")
    assert [int(row["instance"]) for row in rows] == list(range(1, cells.max() + 1))
    assert {row["class"] for row in rows} <= set(NAMES[1:])
    (row,) = table(tmp_path / "out" / "summary.csv")
    assert sum(int(row[f"cells {name}"]) for name in NAMES[1:]) == int(row["cells"]) == len(rows)


def test_evaluating_measures_what_the_validation_measured(trained, data, tmp_path):
    best = checkpoints.read(trained / "runs" / "first" / "last.pt")["best_metric"]
    options = {"run_id": "evaluating", "evaluation_dir": str(tmp_path / "out"), "best_by": "iou/mean"}
    workflow(trained, data, "evaluate.json", **options).run()
    summary = {row["metric"]: row["value"] for row in table(tmp_path / "out" / "summary.csv")}
    assert float(summary["iou/mean"]) == pytest.approx(best, rel=1e-5)
    (image,) = table(tmp_path / "out" / "images.csv")
    assert {f"dice/{name}" for name in NAMES} <= set(image)
    assert (tmp_path / "out" / "confusion.png").is_file()


def test_data_of_other_names_is_mapped_or_refused(trained, data, tmp_path, kind):
    options = {"run_id": "evaluating", "evaluation_dir": str(tmp_path / "out")}
    flow = workflow(trained, data, "evaluate.json", class_names=["background", "round", "rod", "other"], **options)
    assert "classes are background, round, rod, other, those of the network background" in said_by(flow.run)
    if kind == "instances+classes":
        return
    # the same labels under other numbers
    shutil.copytree(data, tmp_path / "data")
    order = [0, 3, 1, 2]
    for file in (tmp_path / "data" / "label").iterdir():
        tifffile.imwrite(file, np.array(order, np.uint8)[tifffile.imread(file)])
    (tmp_path / "data" / "classes.json").write_text(json.dumps([NAMES[order.index(n)] for n in range(4)]))
    for where, folder in (("one", data), ("two", tmp_path / "data")):
        workflow(trained, folder, "evaluate.json", **{**options, "evaluation_dir": str(tmp_path / where)}).run()
    assert (tmp_path / "one" / "summary.csv").read_text() == (tmp_path / "two" / "summary.csv").read_text()


def test_thresholds_are_chosen_for_each_class(trained, data, tmp_path, kind):
    options = {"run_id": "choosing", "evaluation_dir": str(tmp_path / "choice"), "cells#threshold": "auto"}
    workflow(trained, data, "evaluate.json", "choose_cells.json", **options).run()
    chosen = json.loads((tmp_path / "choice" / "cells.json").read_text())
    rows = table(tmp_path / "choice" / "choice.csv")
    if kind == "classes":
        assert set(chosen["cells_of"]) == {row["class"] for row in rows} <= set(NAMES[1:])
        for name, options in chosen["cells_of"].items():
            own = [row for row in rows if row["class"] == name]
            assert float(own[0]["threshold"]) == options["threshold"]
        shutil.copytree(f"{data}/test/image", tmp_path / "in")
        places = {"dataset_dir": tmp_path / "in", "output_dir": tmp_path / "out"}
        flow = inference(tmp_path / "choice" / "cells.json", checkpoint=trained / "model.pt", **places)
        used = flow.parser.get_parsed_content("find_classes").options
        assert [each.threshold for each in used] == [
            chosen["cells_of"].get(name, {"threshold": 0.5})["threshold"] for name in NAMES[1:]
        ]
    else:
        assert chosen["cells#threshold"] == float(rows[0]["threshold"])


def test_resuming_needs_the_same_classes(trained, data, tmp_path, kind):
    shutil.copytree(trained / "runs", tmp_path / "runs")
    options = {"run_name": "first", "resume": True, "best_by": "iou/mean", "class_weights": "dataset", "max_epochs": 2}
    workflow(tmp_path, data, **options).run()
    assert checkpoints.read(tmp_path / "runs" / "first" / "last.pt")["epoch"] == 2
    renamed = ["background", "round", "rod", "labelled"]
    options |= {"max_epochs": 3, "class_names": renamed}
    said = said_by(workflow(tmp_path, data, **options).run)
    assert "classes" in said
    assert "instead of" in said


def test_a_network_goes_on_with_classes_in_its_own_order(trained, data, tmp_path):
    assert "the data's classes are background, cell" in said_by(
        workflow(tmp_path, data, pretrained=str(trained / "model.pt"), truth="instances").run
    )
    flow = workflow(tmp_path, data, pretrained=str(trained / "model.pt"), run_name="on", **{"optimizer#lr": 1e-9})
    flow.run()
    assert TrainedNetwork(tmp_path / "model.pt").classes.names == NAMES


def test_other_networks_train_on_classes(data, tmp_path, kind):
    overlay = {"classes": "dcn", "instances+classes": "multilevel"}[kind]
    workflow(tmp_path, data, f"networks/{overlay}.json", samples_per_epoch=1, run_name=overlay).run()
    assert TrainedNetwork(tmp_path / "model.pt").definition()[1]["out_channels"] == 4


def test_a_network_of_several_classes_is_exported(trained, tmp_path):
    exported = tmp_path / "model.ts"
    ckpt_export(
        net_id="network_def",
        filepath=str(exported),
        ckpt_file=str(trained / "model.pt"),
        meta_file=str(ROOT / "configs" / "metadata.json"),
        config_file=str(ROOT / "configs" / "inference.json"),
        checkpoint=str(trained / "model.pt"),
    )
    network = TrainedNetwork(trained / "model.pt").load().eval()
    tile = torch.rand(1, network.in_channels if hasattr(network, "in_channels") else 1, 60, 60)
    torch.testing.assert_close(torch.jit.load(str(exported)).eval()(tile), network(tile))
    assert network(tile).shape[1] == 4

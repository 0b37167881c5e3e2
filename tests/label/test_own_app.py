"""Our app in the real server: a session of annotation from the first image to the interrupted training."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import mlflow
import nibabel as nib
import numpy as np
import pytest
import tifffile
import torch

from bundle.atomic import sha256
from bundle.inference import uncertainty
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.inference.passes import disagreeing_passes
from bundle.model import checkpoints
from tests.label import images
from tests.label.conftest import prepare


@pytest.fixture(scope="module")
def truth(cells):
    """A gray image and its cells, not square, so that swapped axes show."""
    return tifffile.imread(cells / "image" / "001.tif")[:90, :70], tifffile.imread(cells / "label" / "001.tif")[
        :90, :70
    ]


@pytest.fixture(scope="module")
def gray(truth, tmp_path_factory):
    folder = tmp_path_factory.mktemp("own") / "studies"
    seen = images.write(folder, truth[0])
    (folder / "broken.tif").write_bytes((folder / "tif8.tif").read_bytes()[:200])
    return folder, seen


@pytest.fixture(scope="module")
def server(gray, run_server):
    app = gray[0].parent / "app"
    prepare(app)
    return run_server(app, gray[0])


@pytest.fixture(scope="module")
def started_with(server, tmp_path_factory):
    """The model before any training, which has no card."""
    return Path(shutil.copy(server.model, tmp_path_factory.mktemp("start") / "model.pt"))


def start_again(network: Path, model: Path) -> None:
    """Without the card of what was trained since: it describes another network."""
    shutil.copy(network, model)
    model.with_suffix(".json").unlink(missing_ok=True)


def test_it_offers_model_strategies_and_scores(server, started_with):
    info = server.get("/info/").json()
    assert info["labels"] == ["cell"]
    assert info["models"]["cells"]["config"]["instances"] is False
    assert set(info["strategies"]) == {"first", "random", "epistemic", "border"}
    assert set(info["scoring"]) == {"epistemic", "border"}
    assert info["datastore"]["total"] == len(images.KINDS) + 1


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("kind", images.KINDS)
def test_masks_are_those_of_direct_inference(kind, separate, server, gray, tmp_path):
    mask = images.read(server.mask(kind, tmp_path, instances=separate))
    expected = images.direct(server.model, gray[1][kind], separate)
    assert expected.any()
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize("kind", ["plane", "volume"])
def test_geometry_is_kept(kind, server, gray, tmp_path):
    mask, image = nib.load(server.mask(kind, tmp_path)), nib.load(gray[0] / f"{kind}.nii.gz")
    assert mask.shape == image.shape
    np.testing.assert_allclose(mask.affine, images.AFFINE, atol=1e-5)


def test_a_mask_in_the_format_that_is_asked_for(server, gray, tmp_path):
    mask = images.read(server.mask("png", tmp_path, result_extension=".nii.gz"))
    np.testing.assert_array_equal(mask, images.direct(server.model, gray[1]["png"], False))


def test_what_does_not_exist_is_not_found(server):
    assert server.infer("nowhere").status_code == 404
    assert server.infer("png", model="nobody").status_code == 404
    for path in ("/activelearning/wild", "/train/nobody", "/batch/infer/nobody"):
        assert server.post(path).status_code == 404, path
    assert "border" in server.post("/scoring/wild", run_sync="true").json()["detail"]


def test_bad_parameters_and_images_are_named(server):
    answer = server.infer("png", instances="yes")
    assert (answer.status_code, "instances must be true or false" in answer.text) == (422, True)
    answer = server.infer("broken")
    assert (answer.status_code, "broken.tif" in answer.text) == (422, True)
    answer = server.post("/scoring/epistemic", {"passes": 1}, run_sync="true")
    assert (answer.status_code, "passes must be" in answer.text) == (422, True)


def test_a_request_runs_no_code(server, tmp_path):
    trace = tmp_path / "trace"
    code = f"$__import__('pathlib').Path({str(trace)!r}).touch() or 0.5"
    answer = server.infer("png", threshold=code)
    assert (answer.status_code, "would be run as code" in answer.text) == (422, True)
    before = server.model.read_bytes()
    assert server.train(max_epochs=1, options={"base_channels": code}).status_code != 200
    assert not trace.exists()
    assert server.model.read_bytes() == before
    tifffile.imwrite(tmp_path / "label.tif", np.ones((90, 70), np.uint8))
    answer = server.upload("png", tmp_path / "label.tif", tag="../../outside")
    assert (answer.status_code, "tag must be letters" in answer.text) == (422, True)


def test_training_without_labels_says_so(server):
    assert server.post("/train/cells", {"max_epochs": 1}).json()["status"] in ("SUBMITTED", "RUNNING")
    # submitted is not yet running, and until then a second one is queued
    server.wait_for(lambda: server.get("/train/").json()["status"] == "RUNNING")
    assert server.post("/train/cells", {"max_epochs": 1}).status_code == 429
    server.wait_for(lambda: server.get("/train/").json()["status"] not in ("SUBMITTED", "RUNNING"))
    task = server.get("/train/").json()
    assert task["status"] == "ERROR"
    assert "nothing to train on" in "\n".join(task["details"])


def test_a_training_with_an_unknown_option_says_so(server):
    assert server.post("/train/cells", {"options": {"sed": 1}}).json()["status"] in ("SUBMITTED", "RUNNING")
    server.wait_for(lambda: server.get("/train/").json()["status"] not in ("SUBMITTED", "RUNNING"))
    task = server.get("/train/").json()
    assert task["status"] == "ERROR"
    assert "options sed are no entries of train.json" in "\n".join(task["details"])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (np.zeros((70, 90), np.uint8), "its size (x, y) is (90, 70) px, that of the image (70, 90)"),
        (np.full((90, 70), 0.5, np.float32), "whole numbers"),
        (np.full((90, 70), -1, np.int16), "none of its pixels is annotated"),
        (b"II*\0no label", "truncated or damaged"),
    ],
)
def test_labels_that_cannot_be_used_are_refused(content, reason, server, tmp_path):
    label = tmp_path / "label.tif"
    label.write_bytes(content) if isinstance(content, bytes) else tifffile.imwrite(label, content)
    answer = server.upload("png", label)
    assert answer.status_code == 422
    assert reason in answer.json()["detail"]
    assert server.get("/info/").json()["datastore"]["completed"] == 0


def test_a_label_whose_axes_run_another_way_is_refused(server, tmp_path):
    flipped = images.AFFINE @ np.diag([-1.0, 1.0, 1.0, 1.0])
    nib.save(nib.Nifti1Image(np.ones((70, 90), np.uint8), flipped), tmp_path / "label.nii.gz")
    answer = server.upload("plane", tmp_path / "label.nii.gz")
    assert answer.status_code == 422
    assert "the same pixel is another place" in answer.json()["detail"]


def test_an_empty_label_is_taken_with_a_warning(server, tmp_path):
    tifffile.imwrite(tmp_path / "label.tif", np.zeros((90, 70), np.uint8))
    answer = server.upload("tif16", tmp_path / "label.tif").json()
    assert answer["cells"] == 0
    assert "no cell" in answer["warning"]
    assert server.upload("nowhere", tmp_path / "label.tif").status_code == 404
    (server.studies / "labels" / "final" / "tif16.tif").unlink()
    server.wait_for(lambda: server.get("/info/").json()["datastore"]["completed"] == 0)


def test_strategies_choose_what_their_scores_say(server, gray):
    assert server.post("/activelearning/first").json()["id"] == "broken"
    assert server.post("/activelearning/random").json()["id"] in (*images.KINDS, "broken")
    assert server.post("/activelearning/border").json()["id"] in images.KINDS
    scores = server.post("/scoring/epistemic", {"passes": 3}, run_sync="true").json()
    passes = disagreeing_passes(
        images.network(server.model), OverlapTileInferer(precision="auto"), images.network_input(gray[1]["rgb"]), 3, 0
    )
    assert scores["rgb"] == pytest.approx(uncertainty.epistemic_score(passes), rel=1e-4)
    assert set(scores) == set(images.KINDS)  # the broken one does not stop it
    chosen = server.post("/activelearning/epistemic").json()
    assert chosen["id"] == uncertainty.rank(scores)[0]
    assert chosen["score"] == scores[chosen["id"]]


def test_batch_inference_saves_a_mask_for_every_image(server, gray):
    answer = server.post("/batch/infer/cells", {}, images="unlabeled", run_sync="true")
    assert answer.status_code == 200
    assert "broken.tif" in answer.json()["broken"]["error"]  # and costs no other
    (gray[0] / "broken.tif").unlink()
    server.wait_for(lambda: server.get("/info/").json()["datastore"]["total"] == len(images.KINDS))
    assert server.get("/info/").json()["datastore"]["label_tags"]["original"] == len(images.KINDS)
    saved = images.read(server.studies / "labels" / "original" / "png.png")
    np.testing.assert_array_equal(saved, images.direct(server.model, gray[1]["png"], False))


def test_a_training_on_one_label_changes_the_answers(server, started_with, truth, gray, tmp_path):
    tifffile.imwrite(tmp_path / "label.tif", truth[1])
    assert server.upload("png", tmp_path / "label.tif").json()["cells"] == len(np.unique(truth[1])) - 1
    answer = server.train(max_epochs=2)
    assert answer.status_code == 200
    told = answer.json()
    assert told["result"]["epochs"] == 2
    assert told["model"]["sha256"] == sha256(server.model)
    assert (server.bundle / "runs" / told["run"]["name"] / "best.pt").is_file()
    before, after = checkpoints.read(started_with), checkpoints.read(server.model)
    assert any(not torch.equal(before[name], after[name]) for name in before)
    mask = images.read(server.mask("png", tmp_path))  # the server reads the new weights by itself
    np.testing.assert_array_equal(mask, images.direct(server.model, gray[1]["png"], False))
    assert json.loads(server.model.with_suffix(".json").read_text())["data"]["trained_on"].keys() == {"png"}


def test_pixels_that_nobody_annotated_count_for_nothing(server, started_with, truth, tmp_path):
    """Marked in three ways they train the same network, bit for bit; as background they train another."""
    region = np.zeros(truth[1].shape, bool)
    region[:, 30:] = True
    whole = np.where(region, 0, truth[1])
    byte, signed = np.where(region, 255, whole).astype(np.uint8), np.where(region, -1, whole).astype(np.int16)
    tifffile.imwrite(tmp_path / "byte.tif", byte)
    nib.save(nib.Nifti1Image(signed.T[:, :, None], np.eye(4)), tmp_path / "signed.nii.gz")
    tifffile.imwrite(tmp_path / "background.tif", whole)
    segments = [{"name": "cell", "idx": 1}, {"name": "not annotated", "idx": 255}]

    def trained(label: str, **params: object) -> dict[str, torch.Tensor]:
        answer = server.upload("png", tmp_path / label, **params).json()
        assert answer["not_annotated_px"] == (0 if label == "background.tif" else region.sum())
        start_again(started_with, server.model)
        assert server.train(max_epochs=1).status_code == 200
        return checkpoints.read(server.model)

    told = trained("byte.tif", not_annotated=255)
    for other in (trained("byte.tif", label_info=segments), trained("signed.nii.gz")):
        assert all(torch.equal(told[name], other[name]) for name in told)
    as_background = trained("background.tif")
    # an earlier label of another format would come back when this one is deleted
    assert [file.name for file in (server.studies / "labels" / "final").glob("png.*")] == ["png.tif"]
    assert any(not torch.equal(told[name], as_background[name]) for name in told)


def test_every_training_is_a_run_of_one_experiment(server):
    # in the background, as viewers ask for it
    assert server.post("/train/cells", {"max_epochs": 1, "tracking": "mlflow"}).json()["status"] in (
        "SUBMITTED",
        "RUNNING",
    )
    server.wait_for(lambda: server.get("/train/").json()["status"] not in ("SUBMITTED", "RUNNING"))
    assert server.get("/train/").json()["status"] == "DONE"
    client = mlflow.MlflowClient(f"sqlite:///{server.bundle / 'runs' / 'mlflow.db'}")
    used = [client.search_runs([e.experiment_id]) for e in client.search_experiments() if e.name == "cells"]
    assert [len(runs) for runs in used] == [6]
    assert {run.info.status for run in used[0]} == {"FINISHED"}
    others = [e for e in client.search_experiments() if e.name != "cells"]
    assert not [run for e in others for run in client.search_runs([e.experiment_id])]


def test_a_training_may_begin_with_random_weights(server, started_with):
    found = []
    for pretrained in (True, False):
        start_again(started_with, server.model)
        options = {"run_name": f"begins-{pretrained}", "optimizer#lr": 1e-30, "seed": 1}
        assert server.train(max_epochs=1, pretrained=pretrained, options=options).status_code == 200
        found.append(checkpoints.read(server.model)["classify.weight"])
    start = checkpoints.read(started_with)["classify.weight"]
    assert [torch.equal(weights, start) for weights in found] == [True, False]


def test_a_killed_server_leaves_the_model_and_the_run_goes_on(server, tmp_path):
    before, runs = server.model.read_bytes(), server.bundle / "runs"
    done = set(os.listdir(runs))
    assert server.post("/train/cells", {"max_epochs": 100000}).status_code == 200
    server.wait_for(lambda: any((runs / name / "last.pt").is_file() for name in set(os.listdir(runs)) - done))
    server.stop(signal.SIGKILL)
    (name,) = (name for name in set(os.listdir(runs)) - done if (runs / name).is_dir())
    assert server.model.read_bytes() == before

    server.start()
    assert server.infer("png").status_code == 200
    assert server.get("/train/").status_code == 404  # the server has forgotten it
    epochs = checkpoints.read(runs / name / "last.pt")["epoch"]
    answer = server.train(max_epochs=epochs + 1, options={"run_name": name, "resume": True})
    assert answer.status_code == 200
    assert checkpoints.read(runs / name / "last.pt")["epoch"] == epochs + 1
    assert server.model.read_bytes() != before

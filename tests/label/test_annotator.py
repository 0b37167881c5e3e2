"""The routes of /annotate/ in the real server: arrays in and out, progress, cancelling, a stopped training."""

from __future__ import annotations

import io
import json
import shutil
import threading

import mlflow
import nibabel as nib
import numpy as np
import pytest
import requests
import tifffile
import torch
from fastapi import HTTPException
from PIL import Image

from bundle.data.synthetic_classes import draw_objects
from bundle.inference import uncertainty
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.inference.passes import disagreeing_passes
from bundle.model import checkpoints
from label_app.progress import Progress
from tests.label import images
from tests.label.conftest import PATIENCE, prepare


@pytest.fixture(scope="module")
def truth(cells):
    """A gray image and its cells, not square, so that swapped axes show."""
    return tuple(tifffile.imread(cells / folder / "001.tif")[:90, :70] for folder in ("image", "label"))


@pytest.fixture(scope="module")
def gray(truth, tmp_path_factory):
    folder = tmp_path_factory.mktemp("annotator") / "studies"
    return folder, images.write(folder, truth[0])


@pytest.fixture(scope="module")
def server(gray, run_server):
    tifffile.imwrite(gray[0] / "wide.tif", np.tile(gray[1]["png"], (6, 8)))
    (gray[0] / "broken.tif").write_bytes((gray[0] / "tif8.tif").read_bytes()[:200])
    prepare(gray[0].parent / "app")
    return run_server(gray[0].parent / "app", gray[0])


def arrays(answer):
    assert answer.status_code == 200, answer.text
    with np.load(io.BytesIO(answer.content)) as found:
        return dict(found)


def submit(server, image, cells, classes=None, **query):
    stream = io.BytesIO()
    np.savez(stream, cells=cells, classes=np.ones(2, int) if classes is None else classes)
    return put(server, image, stream.getvalue(), **query)


def put(server, image, content, **query):
    files = {"label": ("label.npz", content)}
    return requests.put(f"{server.url}/annotate/label", params={"image": image, **query}, files=files, timeout=PATIENCE)


def damaged_archive():
    stream = io.BytesIO()
    np.savez_compressed(stream, cells=np.arange(6300).reshape(90, 70), classes=np.ones(2, int))
    content = bytearray(stream.getvalue())
    content[200:230] = bytes(30)  # within the compressed array
    return bytes(content)


def state(server, image):
    return next(one for one in server.get("/annotate/images").json() if one["name"] == image)


def test_it_says_what_it_is_and_what_it_has(server, gray):
    about = server.get("/annotate/").json()
    assert (about["server"], about["classes"], about["studies"]) == (
        "seamless-unet",
        ["background", "cell"],
        str(gray[0].resolve()),
    )
    assert set(about["strategies"]) == {"first", "random", "epistemic", "border"}
    assert {one["state"] for one in server.get("/annotate/images").json()} == {"none"}
    assert state(server, "rgb")["file"] == "rgb.png"


@pytest.mark.parametrize("kind", images.KINDS)
def test_images_and_proposals_have_the_axes_of_the_file(kind, server, gray):
    shown = arrays(server.get("/annotate/image", image=kind))["image"]
    if kind == "rgb":
        np.testing.assert_array_equal(shown, np.asarray(Image.open(gray[0] / "rgb.png")))
    else:
        np.testing.assert_array_equal(shown.squeeze(), gray[1][kind])
        assert shown.dtype == (np.uint16 if kind == "tif16" else np.uint8)
    found = arrays(server.post("/annotate/proposal", {"threshold": 0.4}, image=kind))
    expected = images.read(server.mask(kind, gray[0].parent, instances=True, threshold=0.4))
    np.testing.assert_array_equal(found["cells"].squeeze(), expected)
    assert found["classes"].tolist() == [0] + [1] * expected.max()
    assert found["cells"].shape == found["probability"].shape == shown.shape[:-1]
    if kind == "png":
        probability = torch.softmax(images.logits(server.model, gray[1][kind]), dim=0)[1].numpy().T
        np.testing.assert_allclose(found["probability"], probability, atol=1e-3)
        np.testing.assert_allclose(found["uncertainty"], 1 - np.abs(2 * probability - 1), atol=2e-3)


def test_uncertainty_of_passes(server, gray):
    found = arrays(server.post("/annotate/proposal", {"passes": 3}, image="png"))["uncertainty"]
    passes = disagreeing_passes(
        images.network(server.model), OverlapTileInferer(precision="auto"), images.network_input(gray[1]["png"]), 3
    )
    np.testing.assert_allclose(found, uncertainty.epistemic_map(passes).T / np.log(2), atol=2e-3)
    score = uncertainty.epistemic_score(passes)
    assert float(found.mean()) * np.log(2) == pytest.approx(score, rel=0.05)


def test_what_cannot_be_answered_is_refused(server):
    for path in ("image", "label", "proposal"):
        ask = server.post if path == "proposal" else server.get
        assert ask(f"/annotate/{path}", image="nowhere").status_code == 404
        assert ask(f"/annotate/{path}", image="../app/server").status_code == 404
    assert server.get("/annotate/label", image="png").status_code == 404
    assert server.get("/annotate/image", image="broken").status_code == 422
    assert server.post("/annotate/next", strategy="wild").status_code == 404
    for request in ({"passes": 1}, {"passes": "$1"}, {"threshold": 2}, {"threshold": "$0.5"}, {"model": "other"}):
        answer = server.post("/annotate/proposal", request, image="png")
        assert (answer.status_code, bool(answer.json()["detail"])) == (422, True), request
    assert requests.delete(f"{server.url}/annotate/training", timeout=PATIENCE).status_code == 409
    assert requests.delete(f"{server.url}/annotate/proposal?image=png", timeout=PATIENCE).status_code == 409
    assert server.get("/annotate/training").json()["state"] == "none"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"no archive", "must be an .npz file"),
        (damaged_archive(), "must be an .npz file"),
        (np.zeros((70, 90), np.int32), "its size (x, y) is (90, 70) px, that of the image (70, 90)"),
        (np.full((90, 70), 0.5), "whole numbers"),
        (np.full((90, 70), -2), "-1 (not annotated)"),
        (np.full((90, 70), -1), "none of its pixels is annotated"),
        (np.array([["a"]], object), "must be an .npz file"),
    ],
)
def test_labels_that_cannot_be_used_are_refused(content, reason, server):
    answer = put(server, "png", content) if isinstance(content, bytes) else submit(server, "png", content)
    assert (answer.status_code, reason in answer.json()["detail"]) == (422, True), answer.text
    assert state(server, "png")["state"] == "none"


def test_an_archive_that_unpacks_to_more_than_the_image_is_refused(server):
    stream = io.BytesIO()
    np.savez_compressed(stream, cells=np.zeros((4000, 4000), np.int64), classes=np.ones(2, int))
    assert len(stream.getvalue()) < 200_000
    answer = put(server, "png", stream.getvalue())
    assert (answer.status_code, "more than the image's size allows" in answer.text) == (422, True)


@pytest.mark.parametrize("kind", ["png", "stack", "volume"])
def test_a_label_comes_back_as_it_was(kind, server, truth, gray):
    shape = arrays(server.get("/annotate/image", image=kind))["image"].shape[:-1]
    cells = np.broadcast_to(truth[1].astype(np.int32), shape).copy()
    cells[..., :3, :5] = -1
    answer = submit(server, kind, cells, version="")
    assert (answer.status_code, answer.json()["cells"]) == (200, len(np.unique(truth[1])) - 1)
    got = server.get("/annotate/label", image=kind)
    np.testing.assert_array_equal(arrays(got)["cells"], cells)
    assert got.headers["etag"] == answer.json()["version"]
    assert state(server, kind)["state"] == "annotated"
    assert state(server, kind)["not_annotated_px"] == (cells == -1).sum()
    if kind == "volume":
        saved = nib.load(gray[0] / "labels" / "final" / "volume.nii.gz")
        np.testing.assert_allclose(saved.affine, images.AFFINE, atol=1e-5)


def test_who_opened_an_earlier_label_is_told(server, truth):
    version = server.get("/annotate/label", image="png").headers["etag"]
    other = submit(server, "png", np.where(truth[1] == 1, 0, truth[1]), version=version)
    assert other.status_code == 200
    for stale in (version, ""):
        answer = submit(server, "png", truth[1], version=stale)
        assert (answer.status_code, "was changed by someone else" in answer.text) == (412, True)
    assert submit(server, "png", truth[1], version=other.json()["version"]).status_code == 200
    assert submit(server, "png", truth[1]).status_code == 200  # without a version nobody asks


def test_a_proposal_tells_its_progress_and_can_be_cancelled(server):
    answers = []
    for _ in range(2):
        asked = threading.Thread(
            target=lambda: answers.append(server.post("/annotate/proposal", {"passes": 64}, image="wide"))
        )
        asked.start()
        server.wait_for(lambda: server.get("/annotate/progress").json()["image"] == "wide")
        assert server.get("/info/").status_code == 200  # the server answers meanwhile
        cancelled = requests.delete(f"{server.url}/annotate/proposal?image=wide", timeout=PATIENCE)
        assert cancelled.status_code == 200, cancelled.text
        asked.join()
    assert [answer.status_code for answer in answers] == [409, 409]
    assert "was cancelled" in answers[0].text
    assert server.get("/annotate/progress").json()["image"] is None
    assert server.post("/annotate/proposal", image="png").status_code == 200


def test_a_cancelled_proposal_ends_no_other_inference():
    progress = Progress()
    progress.begin("a")
    progress.cancelled = True
    other = threading.Thread(target=progress.tile, args=(1, 2))  # an error in a thread is one of pytest's warnings
    other.start()
    other.join()
    assert (progress.done, progress.total) == (0, 0)
    with pytest.raises(HTTPException, match="cancelled"):
        progress.tile(1, 2)


def test_next_says_image_and_score(server):
    assert server.post("/annotate/next", strategy="first").json()["image"]
    chosen = server.post("/annotate/next", strategy="border").json()
    scores = server.post("/scoring/border", run_sync="true").json()
    ranked = uncertainty.rank(scores)
    assert chosen == {"image": ranked[0], "score": max(scores.values())}
    later = server.post("/annotate/next", {"skip": ranked[:2]}, strategy="border").json()
    assert later == {"image": ranked[2], "score": scores[ranked[2]]}
    first = server.post("/annotate/next", strategy="first").json()["image"]
    others = [
        server.post("/annotate/next", {"skip": [first]}, strategy=one).json()["image"] for one in ("first", "random")
    ]
    assert first not in others
    everything = [one["name"] for one in server.get("/annotate/images").json()]
    assert server.post("/annotate/next", {"skip": everything}, strategy="random").json() == {}
    assert server.post("/annotate/next", {"skip": "png"}, strategy="first").status_code == 422


def ask_training(server):
    told = server.get("/annotate/training").json()
    assert told["state"] != "error", told
    return told


def test_a_training_is_watched_and_stopped_with_its_run_saved(server, gray, cells):
    before, runs = server.model.read_bytes(), server.bundle / "runs"
    for label in (gray[0] / "labels" / "final").iterdir():
        label.unlink()  # they are of one image, in training and validation
    for number in ("002", "003"):
        shutil.copy(cells / "image" / f"{number}.tif", gray[0])
    server.wait_for(lambda: [one["state"] for one in server.get("/annotate/images").json()] == ["none"] * 11)
    for number in ("002", "003"):
        assert submit(server, number, tifffile.imread(cells / "label" / f"{number}.tif")).status_code == 200
    assert server.post("/train/cells", {"max_epochs": 100000, "val_split": 0.4}).status_code == 200
    server.wait_for(lambda: len(ask_training(server).get("loss", {})) > 1)
    seen = ask_training(server)
    assert (seen["state"], seen["epochs"]) == ("running", 100000)
    assert seen["epoch"] == max(map(int, seen["loss"]))
    assert set(seen["validation"]) >= {"loss", "seg"}
    assert requests.delete(f"{server.url}/annotate/training", timeout=PATIENCE).json()["state"] == "stopping"
    requests.delete(f"{server.url}/annotate/training", timeout=PATIENCE)  # a second one changes nothing
    server.wait_for(lambda: server.get("/annotate/training").json()["state"] != "stopping")
    ended = server.get("/annotate/training").json()
    assert ended["state"] == "stopped", ended
    assert server.get("/train/").json()["status"] == "STOPPED"
    assert server.model.read_bytes() == before
    epochs = checkpoints.read(runs / ended["run"] / "last.pt")["epoch"]
    client = mlflow.MlflowClient(f"sqlite:///{runs / 'mlflow.db'}")
    run = client.get_run((runs / ended["run"] / "mlflow_run_id.txt").read_text().strip())
    assert run.info.status == "KILLED"  # closed, and not "RUNNING"
    rows = np.genfromtxt(runs / ended["run"] / "history.csv", delimiter=",", names=True, dtype=None, encoding="utf-8")
    losses = rows["value"][(rows["name"] == "train/loss") & (rows["epoch"] == 1)]
    assert ended["loss"]["1"] == pytest.approx(losses.mean())
    with (runs / ended["run"] / "history.csv").open("a") as history:  # as of images without a cell
        history.write(f"0,{rows['iteration'].max()},1,val/nothing,nan\n")
    assert server.get("/annotate/training").json()["validation"].keys() == ended["validation"].keys()

    options = {"run_name": ended["run"], "resume": True}
    answer = server.train(max_epochs=epochs + 1, val_split=0.4, options=options)
    assert answer.status_code == 200, answer.text
    assert server.model.read_bytes() != before


def test_a_deleted_image_is_not_found(server, gray, truth):
    (gray[0] / "tif8.tif").unlink()
    assert submit(server, "tif8", truth[1]).status_code == 404
    assert server.get("/annotate/image", image="tif8").status_code == 404


def test_classes_of_cells_go_both_ways(run_server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kinds")
    (folder / "studies").mkdir()
    image, cells, kinds = draw_objects((90, 72), [3, 1])
    Image.fromarray(image[0]).save(folder / "studies" / "a.png")
    names = ["background", "round", "rod", "marked"]
    prepare(folder / "app", "--option", f"class_names={json.dumps(names)}")
    server = run_server(folder / "app", folder / "studies")
    assert server.get("/annotate/").json()["classes"] == names
    cells = np.asarray(cells, np.int32).reshape(90, 72)
    table = np.zeros(cells.max() + 1, int)
    table[cells.ravel()] = np.asarray(kinds).reshape(90, 72).ravel()
    table[0] = 0
    shown = arrays(server.post("/annotate/proposal", image="a"))
    assert len(shown["classes"]) == shown["cells"].max() + 1
    assert (submit(server, "a", cells, table[:-1]).status_code, submit(server, "a", cells, table + 9).status_code) == (
        422,
        422,
    )
    assert submit(server, "a", cells, table).status_code == 200
    back = arrays(server.get("/annotate/label", image="a"))
    np.testing.assert_array_equal(back["classes"][back["cells"]], table[cells])

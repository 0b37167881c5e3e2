"""Sixty-four requests at a time while a training and a scoring run: no error, no label lost, no mixed answer."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile

from tests.label import images
from tests.label.conftest import prepare

NAMES = [f"{number:02}" for number in range(24)]
#: images that get a label in every wave; the others stay without one, so that there is always a next sample
LABELLED = NAMES[:16]
#: the value of pixels that nobody annotated: noted in the store alone, so a lost note would train them as a cell
IGNORED = 255


@pytest.fixture(scope="module")
def gray(cells, tmp_path_factory):
    """Images of one size, each another place of one picture: the mask of one fits no other."""
    picture = tifffile.imread(cells / "image" / "001.tif")
    folder = tmp_path_factory.mktemp("parallel") / "studies"
    folder.mkdir()
    found = {name: np.roll(picture, 5 * number, axis=0)[:70, :64] for number, name in enumerate(NAMES)}
    for name, pixels in found.items():
        tifffile.imwrite(folder / f"{name}.tif", pixels)
    return folder, found


@pytest.fixture(scope="module")
def server(gray, run_server):
    app = gray[0].parent / "app"
    prepare(app)
    return run_server(app, gray[0])


def label(wave: int, number: int) -> np.ndarray:
    """Of every wave and image another one: ``1 + (wave + number) % 4`` cells, and ``number + 1`` px not annotated."""
    pixels = np.zeros((70, 64), np.uint8)
    for cell in range(1 + (wave + number) % 4):
        pixels[4 + 15 * cell : 14 + 15 * cell, 10 + wave % 8 : 30] = 1
    pixels[-1, : number + 1] = IGNORED
    return pixels


def masks(model, gray):
    return {name: images.direct(model, pixels, False).astype(np.uint8) for name, pixels in gray.items()}


def test_parallel_requests_while_a_training_runs(server, gray, tmp_path):
    first = shutil.copy(server.model, tmp_path / "first.pt")
    inferred: list[tuple[str, np.ndarray]] = []

    def infer(name: str, key: str) -> None:
        folder = tmp_path / key
        folder.mkdir()
        inferred.append((name, images.read(server.mask(name, folder))))

    def upload(wave: int, number: int) -> None:
        file = tmp_path / f"{wave}-{number}.tif"
        tifffile.imwrite(file, label(wave, number))
        answer = server.upload(NAMES[number], file, not_annotated=IGNORED)
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert (told["image"], told["cells"]) == (NAMES[number], 1 + (wave + number) % 4)
        assert told["not_annotated_px"] == number + 1

    def sample(strategy: str) -> None:
        answer = server.post(f"/activelearning/{strategy}")
        assert answer.status_code == 200, answer.text
        assert answer.json()["id"] in NAMES
        assert answer.json()["path"].endswith(f"{answer.json()['id']}.tif")

    def info() -> None:
        assert server.get("/info/").json()["datastore"]["total"] == len(NAMES)

    def listed() -> None:
        answer = server.get("/datastore/", output="all")
        assert answer.status_code == 200, answer.text
        assert sorted(answer.json()["objects"]) == NAMES

    def wave(number: int) -> None:
        """All of them at once, in any order."""
        calls: list[Callable[[], None]] = [
            *(lambda name=name: infer(name, f"{number}-{name}") for name in NAMES),
            *(lambda index=index: upload(number, index) for index in range(len(LABELLED))),
            *(lambda way=way: sample(way) for way in ["random", "first", "border"] * 3),
            *[info] * 8,
            *[listed] * 7,
        ]
        assert len(calls) == 64
        random.Random(number).shuffle(calls)
        with ThreadPoolExecutor(64) as pool:
            for call in [pool.submit(call) for call in calls]:
                call.result()

    wave(0)
    assert server.post("/train/cells", {"max_epochs": 2}).json()["status"] in ("SUBMITTED", "RUNNING")
    assert server.post("/scoring/epistemic", {"passes": 2}).status_code == 200
    waves, statuses = 0, {"SUBMITTED"}
    while statuses & {"SUBMITTED", "RUNNING"}:
        waves += 1
        wave(waves)
        statuses = {server.get(f"/{task}/").json()["status"] for task in ("train", "scoring")}
    assert statuses == {"DONE"}, server.log.read_text()[-3000:]

    before, after = masks(first, gray[1]), masks(server.model, gray[1])
    assert len({mask.tobytes() for mask in before.values()}) == len(NAMES)
    for name, mask in inferred:
        assert any(np.array_equal(mask, known[name]) for known in (before, after)), name
    objects = server.get("/datastore/", output="all").json()["objects"]
    for number, name in enumerate(LABELLED):
        kept = tifffile.imread(server.studies / "labels" / "final" / f"{name}.tif")
        np.testing.assert_array_equal(kept, label(waves, number))
        noted = objects[name]["labels"]["final"]["info"]
        assert noted["not_annotated"] == IGNORED, json.dumps(noted)
        assert noted["cells"] == 1 + (waves + number) % 4
    assert {name for name in NAMES if objects[name]["labels"]} == set(LABELLED)
    assert all("epistemic" in objects[name]["image"]["info"] for name in NAMES if name not in LABELLED)

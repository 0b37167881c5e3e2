"""The bundle in MONAI Label's own app for bundles, monaibundle, as the wheel ships it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.label import images
from tests.label.conftest import PYTHON, prepare


@pytest.fixture(scope="module")
def gray(cells, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stock") / "studies"
    return folder, images.write(folder, tifffile.imread(cells / "image" / "001.tif")[:90, :70])


@pytest.fixture(scope="module")
def server(gray, run_server):
    prefix = subprocess.run([PYTHON, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True).stdout
    main = Path(prefix.strip(), "monailabel", "sample-apps", "monaibundle", "main.py")
    app = gray[0].parent / "app"
    prepare(app, "--main", str(main))
    return run_server(app, gray[0], {"epistemic_model": "cells"})


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("kind", images.KINDS)
def test_masks_are_those_of_direct_inference(kind, separate, server, gray, tmp_path):
    mask = images.read(server.mask(kind, tmp_path, instances=separate))
    np.testing.assert_array_equal(mask, images.direct(server.model, gray[1][kind], separate))


def test_samples_scores_and_batches(server):
    assert server.post("/activelearning/first").json()["id"] == min(images.KINDS)
    assert server.post("/activelearning/random").json()["id"] in images.KINDS
    scored = server.post("/scoring/cells", {"max_workers": 1}, run_sync="true").json()
    assert scored["executed"] == len(images.KINDS)
    assert server.post("/batch/infer/cells", {"multi_gpu": False}, run_sync="true").status_code == 200
    assert server.get("/info/").json()["datastore"]["label_tags"]["original"] == len(images.KINDS)


def test_a_training_on_one_label_changes_the_answers(server, cells, gray, tmp_path):
    before = server.model.read_bytes()
    tifffile.imwrite(tmp_path / "label.tif", tifffile.imread(cells / "label" / "001.tif")[:90, :70])
    assert server.upload("tif8", tmp_path / "label.tif").status_code == 200
    assert server.train(max_epochs=2).status_code == 200
    assert server.model.read_bytes() != before
    mask = images.read(server.mask("png", tmp_path))
    np.testing.assert_array_equal(mask, images.direct(server.model, gray[1]["png"], False))


def test_what_it_answers_to_what_is_wrong(server, tmp_path):
    """As docs/annotate.md says; our app does better."""
    assert server.infer("png", model="nobody").status_code == 500
    assert server.infer("nowhere").status_code == 500
    assert server.infer("png", instances="yes").status_code == 500
    assert server.post("/activelearning/wild").status_code == 500
    assert server.post("/batch/infer/cells", run_sync="true").status_code == 500
    tifffile.imwrite(tmp_path / "small.tif", np.zeros((9, 9), np.uint8))
    assert server.upload("nowhere", tmp_path / "small.tif").status_code == 500
    assert server.upload("png", tmp_path / "small.tif").status_code == 200
    assert server.train(max_epochs=1).status_code == 500

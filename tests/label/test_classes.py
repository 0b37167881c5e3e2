"""Several classes in the real server: segments by name in, a class map and cells with their class out."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import requests
import tifffile
import torch
from PIL import Image

from bundle.data.synthetic_classes import draw_objects
from bundle.model import TrainedNetwork
from tests.label import images
from tests.label.conftest import PATIENCE, prepare

NAMES = ["background", "round", "rod", "marked"]
#: as 3D Slicer sends them: any values, in any order
SEGMENTS = {"Rod": 1, "marked": 2, "round": 5}


@pytest.fixture(scope="module")
def drawn():
    return [draw_objects((90, 72), [3, number]) for number in range(3)]


@pytest.fixture(scope="module")
def server(drawn, run_server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("classes")
    (folder / "studies").mkdir()
    for number, (image, _, _) in enumerate(drawn):
        Image.fromarray(image[0]).save(folder / "studies" / f"i{number}.png")
    prepare(folder / "app", "--option", f"class_names={json.dumps(NAMES)}")
    return run_server(folder / "app", folder / "studies")


def segments(**more):
    return [{"name": name, "idx": value} for name, value in {**SEGMENTS, **more}.items()]


def as_segments(classes):
    values = {number: value for name, value in SEGMENTS.items() for number in [NAMES.index(name.lower())]}
    return np.array([0, *(values[number] for number in (1, 2, 3))], np.uint8)[classes]


def test_it_offers_the_classes(server):
    assert set(server.get("/info/").json()["labels"]) == set(NAMES[1:])
    network = TrainedNetwork(server.model)
    assert (list(network.classes.names), network.classes.kind) == (NAMES, "classes")


def test_labels_by_name_are_examined(server, drawn, tmp_path):
    _, _, classes = drawn[0]
    tifffile.imwrite(tmp_path / "label.tif", as_segments(classes))
    answer = server.upload("i0", tmp_path / "label.tif", label_info=segments())
    assert answer.status_code == 200, answer.text
    assert answer.json()["classes"]["rod"] > 0
    answer = server.upload("i0", tmp_path / "label.tif", label_info=[{"name": "square", "idx": 1}])
    assert (answer.status_code, "there is no class 'square'" in answer.text) == (422, True)
    answer = server.upload("i0", tmp_path / "label.tif", label_info=[{"name": "rod", "idx": 1}])
    assert (answer.status_code, "values without a class: 2" in answer.text) == (422, True)
    answer = server.upload("i0", tmp_path / "label.tif", label_info=[{"name": "$rod", "idx": 1}])
    assert answer.status_code == 422


def test_training_goes_on_and_masks_name_their_classes(server, drawn, tmp_path):
    for number in (1, 2):
        tifffile.imwrite(tmp_path / "label.tif", as_segments(drawn[number][2]))
        numbered = {"not annotated": 9} if number == 1 else {"round 2": 7}
        assert server.upload(f"i{number}", tmp_path / "label.tif", label_info=segments(**numbered)).status_code == 200
    before = server.model.read_bytes()
    assert server.train(max_epochs=1).status_code == 200, server.log.read_text()[-3000:]
    assert server.model.read_bytes() != before
    network = TrainedNetwork(server.model)
    assert list(network.classes.names) == NAMES
    assert list(network.card["data"]["trained_on"])

    gray = drawn[0][0][0]
    probability = torch.softmax(images.logits(server.model, gray), dim=0)
    expected = torch.where(probability[1:].sum(0) > 0.5, probability[1:].argmax(0) + 1, 0).numpy().T
    mask = images.read(server.mask("i0", tmp_path))
    np.testing.assert_array_equal(mask, expected)
    query = {"image": "i0", "output": "json"}
    form = {"params": json.dumps({"instances": True, "threshold": 0.2, "min_size": 1})}
    answer = requests.post(f"{server.url}/infer/cells", params=query, data=form, timeout=PATIENCE)
    found = answer.json().get("params", answer.json())
    cells = images.read(server.mask("i0", tmp_path, instances=True, threshold=0.2, min_size=1))
    assert set(found["cell_classes"]) == {str(number) for number in range(1, cells.max() + 1)}
    assert set(found["cell_classes"].values()) <= set(NAMES[1:])


def test_touching_cells_of_a_client_are_counted_apart(server, drawn):
    cells = np.zeros(drawn[1][2].shape, np.int32)
    cells[10:20, 10:20], cells[10:20, 20:30], cells[40:45, 10:15] = 1, 2, 3
    stream = io.BytesIO()
    np.savez(stream, cells=cells, classes=np.array([0, 1, 1, 2]))
    files = {"label": ("label.npz", stream.getvalue())}
    answer = requests.put(f"{server.url}/annotate/label", params={"image": "i1"}, files=files, timeout=PATIENCE)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["cells"], answer.json()["classes"]["round"]) == (3, 2)

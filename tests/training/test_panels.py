"""Pictures of a validation: which, where, and of what."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import DataLoader, MetaTensor
from monai.engines import SupervisedEvaluator
from PIL import Image

from bundle.output.pictures import boxes_of
from bundle.training import panels
from bundle.training.batch import prepare_batch
from bundle.training.panels import PanelHandler

# an upright bar, so that a picture that was not turned shows itself
BAR = torch.zeros(1, 40, 30)
BAR[:, 4:34, 10:14] = 1
LOGITS = torch.cat([-9 * (2 * BAR - 1), 9 * (2 * BAR - 1)])


class FakeTracker:
    def __init__(self, epoch):
        self.engine = Engine(lambda *_: None)
        self.engine.state.epoch = epoch
        self.artifacts = []

    def log_artifact(self, path, folder):
        self.artifacts.append((path.name, folder))


def validate(handler, outputs, times=1):
    engine = Engine(lambda _, number: outputs[number])
    engine.state.batch = None
    original = engine._process_function

    def process(engine, number):
        output = original(engine, number)
        engine.state.batch = [{} for _ in output] if isinstance(output, list) else {"image": output["image"]}
        return output

    engine._process_function = process
    handler.attach(engine)
    for _ in range(times):
        engine.run(range(len(outputs)), max_epochs=1)


@pytest.fixture
def drawn(monkeypatch):
    """What the handler asks to be drawn, instead of the slow drawing."""
    calls = []

    def record(*arrays, title, colours, classes=None):
        calls.append((*arrays, title) if classes is None else (*arrays, title, classes))
        return np.zeros((2, 2, 3), np.uint8), {}

    monkeypatch.setattr(panels, "panel_and_boxes", record)
    return calls


def test_a_real_picture_is_saved_and_tracked(tmp_path):
    tracker = FakeTracker(epoch=7)
    item = {"image": BAR, "pred": LOGITS, "label": BAR, "name": "set 1/cell"}
    validate(PanelHandler(tmp_path / "p", tracker), [[item]])
    assert [p.name for p in (tmp_path / "p").iterdir()] == ["set_1_cell_0007.png"]
    assert tracker.artifacts == [("set_1_cell_0007.png", "pictures")]
    with Image.open(tmp_path / "p" / "set_1_cell_0007.png") as picture:
        assert min(picture.size) > 300
        boxes = boxes_of(picture)
        assert list(boxes) == ["image", "truth: 10 % cell", "probability of cell", "found: 10 % cell"]
        shown = np.asarray(picture.crop(boxes["probability of cell"]).resize((40, 30), Image.Resampling.BOX))
    np.testing.assert_array_equal(shown[..., 0] > 127, BAR[0].T.numpy() > 0)  # that step, all of it and nothing else


def test_images_without_a_name_are_called_after_their_file_and_slice(tmp_path, drawn):
    whole = MetaTensor(BAR, meta={"filename_or_obj": "/data/cell.tif"})
    page = MetaTensor(BAR, meta={"filename_or_obj": "/data/cell.tif", "patch_index": 2})
    validate(PanelHandler(tmp_path), [[{"image": image, "pred": LOGITS} for image in (whole, page, BAR)]])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cell_0001.png", "cell_002_0001.png", "image02_0001.png"]


class Items(torch.utils.data.Dataset):
    """Three images whose names, files and slices say which one they are; ``prepare_batch`` takes them all away."""

    def __init__(self, named, meta):
        self.named, self.meta = named, meta

    def __len__(self):
        return 3

    def __getitem__(self, i):
        image = MetaTensor(torch.zeros(1, 8, 8), meta={"filename_or_obj": f"/data/file{i}.tif", "patch_index": i})
        item = {"image": image if self.meta else image.as_tensor(), "label": torch.zeros(1, 8, 8)}
        return item | ({"name": f"set/{i}"} if self.named else {})


@pytest.mark.parametrize("decollate", [True, False])
@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize(
    ("named", "meta", "names"),
    [
        (True, True, ["set_0", "set_1", "set_2"]),
        (True, False, ["set_0", "set_1", "set_2"]),
        (False, True, ["file0_000", "file1_001", "file2_002"]),
        (False, False, ["image00", "image01", "image02"]),
    ],
)
def test_pictures_are_named_after_the_batch(tmp_path, drawn, named, meta, names, batch_size, decollate):
    tracker = FakeTracker(epoch=4)
    SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Items(named, meta), batch_size=batch_size),
        network=torch.nn.Conv2d(1, 2, 1),
        prepare_batch=prepare_batch,
        val_handlers=[PanelHandler(tmp_path, tracker)],
        decollate=decollate,
    ).run()
    files = [f"{name}_0004.png" for name in names]
    assert sorted(p.name for p in tmp_path.iterdir()) == files
    assert tracker.artifacts == [(file, "pictures") for file in files]
    assert [call[-1] for call in drawn] == [f"{name}, epoch 4" for name in names]


def test_a_name_may_stand_in_a_list_of_its_own(tmp_path, drawn):
    validate(PanelHandler(tmp_path), [[{"image": BAR, "pred": LOGITS, "name": ["cell"]}]])
    assert [p.name for p in tmp_path.iterdir()] == ["cell_0001.png"]


def test_a_mask_is_told_apart_into_cells(tmp_path, drawn):
    two = BAR.clone()
    two[:, 4:34, 20:24] = 1
    two[0, 0, 0] = -1  # not annotated
    validate(PanelHandler(tmp_path), [[{"image": BAR, "pred": LOGITS, "label": two}]])
    assert drawn[0][1].max() == 2


def test_arrays_are_turned_into_rows_and_columns(tmp_path, drawn):
    item = {"image": BAR, "pred": LOGITS, "label": torch.cat([3 * BAR, 1 + BAR])}
    validate(PanelHandler(tmp_path), [[item]])
    image, label, weight, probability, cells, title = drawn[0]
    np.testing.assert_array_equal(image, BAR[0].T)
    np.testing.assert_array_equal(label, 3 * BAR[0].T)
    np.testing.assert_array_equal(weight, 1 + BAR[0].T)  # the second channel of the target
    np.testing.assert_allclose(probability, BAR[0].T, atol=1e-6)  # softmax of the logits, class 1
    np.testing.assert_array_equal(cells, BAR[0].T)
    assert title == "image00"  # no training: no epoch
    validate(PanelHandler(tmp_path, transpose=False), [[item]])
    np.testing.assert_array_equal(drawn[1][0], BAR[0])


def test_a_batch_that_is_not_decollated_a_volume_and_a_larger_image(tmp_path, drawn):
    volume = torch.zeros(2, 1, 46, 36, 5)
    volume[1, :, 3:43, 3:33, 2] = BAR  # second image, middle slice, 3 px of context around
    pred = torch.zeros(2, 1, 40, 30, 5)
    pred[1, ..., 2] = BAR
    output = {"image": volume, "pred": pred, "weight": volume + 1, "loss": torch.tensor(0.1)}
    validate(PanelHandler(tmp_path), [output])
    assert len(drawn) == 2
    image, label, weight, probability, _, _ = drawn[1]
    np.testing.assert_array_equal(image, BAR[0].T)
    np.testing.assert_array_equal(probability, BAR[0].T)
    np.testing.assert_array_equal(weight, 1 + BAR[0].T)
    assert label is None


def test_count_and_every(tmp_path, drawn):
    outputs = [[{"image": BAR, "pred": LOGITS}] * 2] * 3  # 6 images a validation
    validate(PanelHandler(tmp_path, count=3, every=2), outputs, times=5)
    assert len(drawn) == 3 * 3  # validations 1, 3, 5
    for name in ("count", "every"):
        with pytest.raises(ValueError, match=f"{name} must be at least 1"):
            PanelHandler(tmp_path, **{name: 0})


def test_the_last_epoch_of_a_training_is_shown_too(tmp_path, drawn):
    tracker = FakeTracker(1)
    handler = PanelHandler(tmp_path, tracker=tracker, every=5)
    for epoch in (1, 2, 3):
        tracker.engine.state.epoch, tracker.engine.state.max_epochs = epoch, 3
        validate(handler, [[{"image": BAR, "pred": LOGITS}]])
    assert [name for name, _ in tracker.artifacts] == ["image00_0001.png", "image00_0003.png"]


def test_a_picture_that_fails_does_not_stop_the_validation(tmp_path, caplog):
    handler = PanelHandler(tmp_path)
    with caplog.at_level(logging.WARNING):
        validate(handler, [[{"image": BAR, "pred": torch.zeros(5, 4, 4)}]], times=3)
    assert [r.message for r in caplog.records if r.name == "bundle.training.panels"] == [
        "no picture of this validation: ValueError: pred must be 2HW[D] logits or 1HW[D] probabilities, got (5, 4, 4)"
    ]
    assert list(tmp_path.iterdir()) == []


def test_of_several_classes_what_was_found_of_each_is_drawn(tmp_path, drawn):
    cells, kinds = torch.tensor([[[0, 1, 2], [0, 1, 2]]]), torch.tensor([[[0, 2, 1], [0, 2, 1]]])
    item = {"image": torch.rand(1, 2, 3), "pred": torch.rand(3, 2, 3), "class_map": kinds, "cells": cells}
    item |= {"cell_classes": np.array([0, 2, 1]), "truth": cells * 2 - 1, "true_classes": kinds}
    validate(PanelHandler(tmp_path, names=("ground", "a", "b")), [[item]])
    ((_, label, _, probability, found, _, classes),) = drawn
    assert probability is None
    np.testing.assert_array_equal(label, (cells[0] * 2 - 1).T)
    np.testing.assert_array_equal(found, cells[0].T)
    np.testing.assert_array_equal(classes.found, kinds[0].T)
    np.testing.assert_array_equal(classes.of_cells, [0, 2, 1])
    assert classes.of_truth[[1, 3]].tolist() == [2, 1]

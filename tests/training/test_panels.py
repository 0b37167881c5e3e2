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
BAR = MetaTensor(torch.zeros(1, 40, 30))
BAR[:, 4:34, 10:14] = 1
LOGITS = torch.cat([-9 * (2 * BAR - 1), 9 * (2 * BAR - 1)])
ITEM = {"image": BAR, "pred": LOGITS, "label": BAR, "name": "cell"}


class FakeTracker:
    def __init__(self, epoch):
        self.engine = Engine(lambda *_: None)
        self.engine.state.epoch = epoch
        self.artifacts = []

    def log_artifact(self, path, folder):
        self.artifacts.append((path.name, folder))


def validate(handler, outputs, times=1):
    def process(engine, number):
        engine.state.batch = [{} for _ in outputs[number]]
        return outputs[number]

    engine = Engine(process)
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
    validate(PanelHandler(tmp_path / "p", tracker), [[{**ITEM, "name": "set 1/cell"}]])
    assert [p.name for p in (tmp_path / "p").iterdir()] == ["set_1_cell_0007.png"]
    assert tracker.artifacts == [("set_1_cell_0007.png", "pictures")]
    with Image.open(tmp_path / "p" / "set_1_cell_0007.png") as picture:
        assert min(picture.size) > 300
        boxes = boxes_of(picture)
        assert list(boxes) == ["image", "truth: 10 % cell", "probability of cell", "found: 10 % cell"]
        shown = np.asarray(picture.crop(boxes["probability of cell"]).resize((40, 30), Image.Resampling.BOX))
    np.testing.assert_array_equal(shown[..., 0] > 127, BAR[0].T.numpy() > 0)  # that step, all of it and nothing else


class Items(torch.utils.data.Dataset):
    """Three images whose names, or files, say which one they are; ``prepare_batch`` takes both away."""

    def __init__(self, named):
        self.named = named

    def __len__(self):
        return 3

    def __getitem__(self, i):
        image = MetaTensor(torch.zeros(1, 8, 8), meta={"filename_or_obj": f"/data/file{i}.tif"})
        return {"image": image, "label": torch.zeros(1, 8, 8), **({"name": f"set/{i}"} if self.named else {})}


@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize(("named", "of"), [(True, "set_"), (False, "file")])
def test_pictures_are_named_after_the_batch(tmp_path, drawn, named, of, batch_size):
    tracker = FakeTracker(epoch=4)
    SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Items(named), batch_size=batch_size),
        network=torch.nn.Conv2d(1, 2, 1),
        prepare_batch=prepare_batch,
        val_handlers=[PanelHandler(tmp_path, tracker)],
    ).run()
    files = [f"{of}{i}_0004.png" for i in range(3)]
    assert sorted(p.name for p in tmp_path.iterdir()) == files
    assert tracker.artifacts == [(file, "pictures") for file in files]
    assert [call[-1] for call in drawn] == [f"{of}{i}, epoch 4" for i in range(3)]


def test_a_mask_is_told_apart_into_cells(tmp_path, drawn):
    two = BAR.clone()
    two[:, 4:34, 20:24] = 1
    two[0, 0, 0] = -1  # not annotated
    validate(PanelHandler(tmp_path), [[{**ITEM, "label": two}]])
    assert drawn[0][1].max() == 2


def test_arrays_are_turned_into_rows_and_columns(tmp_path, drawn):
    validate(PanelHandler(tmp_path), [[{**ITEM, "label": 3 * BAR, "weight": 1 + BAR}]])
    image, label, weight, probability, cells, title = drawn[0]
    np.testing.assert_array_equal(image, BAR[0].T)
    np.testing.assert_array_equal(label, 3 * BAR[0].T)
    np.testing.assert_array_equal(weight, 1 + BAR[0].T)
    np.testing.assert_allclose(probability, BAR[0].T, atol=1e-6)  # softmax of the logits, class 1
    np.testing.assert_array_equal(cells, BAR[0].T)
    assert title == "cell"  # no training: no epoch


def test_of_a_volume_the_middle_slice_is_drawn(tmp_path, drawn):
    volume = {
        name: torch.stack([torch.zeros_like(plane), plane, torch.ones_like(plane)], dim=-1)
        for name, plane in {**ITEM, "weight": 1 + BAR}.items()
        if name != "name"
    }
    validate(PanelHandler(tmp_path), [[{**volume, "name": "cell"}], [{**ITEM, "weight": 1 + BAR}]])
    for of_volume, of_slice in zip(drawn[0][:-1], drawn[1][:-1], strict=True):
        np.testing.assert_array_equal(of_volume, of_slice)


def test_count_and_every(tmp_path, drawn):
    outputs = [[ITEM] * 2] * 3  # 6 images a validation
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
        validate(handler, [[ITEM]])
    assert [name for name, _ in tracker.artifacts] == ["cell_0001.png", "cell_0003.png"]


def test_a_picture_that_fails_does_not_stop_the_validation(tmp_path, caplog):
    handler = PanelHandler(tmp_path)
    with caplog.at_level(logging.WARNING):
        validate(handler, [[{"image": BAR}]], times=3)
    assert [r.message for r in caplog.records if r.name == "bundle.training.panels"] == [
        "no picture of this validation: KeyError: label"
    ]
    assert list(tmp_path.iterdir()) == []


def test_of_several_classes_what_was_found_of_each_is_drawn(tmp_path, drawn):
    cells, kinds = torch.tensor([[[0, 1, 2], [0, 1, 2]]]), torch.tensor([[[0, 2, 1], [0, 2, 1]]])
    item = {"image": MetaTensor(torch.rand(1, 2, 3)), "name": "cell", "class_map": kinds, "cells": cells}
    item |= {"cell_classes": np.array([0, 2, 1]), "truth": cells * 2 - 1, "true_classes": kinds}
    validate(PanelHandler(tmp_path, names=("ground", "a", "b")), [[item]])
    ((_, label, _, probability, found, _, classes),) = drawn
    assert probability is None
    np.testing.assert_array_equal(label, (cells[0] * 2 - 1).T)
    np.testing.assert_array_equal(found, cells[0].T)
    np.testing.assert_array_equal(classes.found, kinds[0].T)
    np.testing.assert_array_equal(classes.of_cells, [0, 2, 1])
    assert classes.of_truth[[1, 3]].tolist() == [2, 1]

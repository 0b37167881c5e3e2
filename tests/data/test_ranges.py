"""Slices of one volume as items that train, validate and are held out."""

import re

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from bundle.data import datalist
from bundle.data.errors import ImageError
from bundle.data.fingerprint import image_fingerprints
from bundle.data.loading import LoadSliced
from bundle.data.splits import split
from bundle.model import TrainedNetwork
from bundle.training import check_data
from bundle.training.plan_tile import smallest_volume
from tests.test_evaluating import summary


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """16 sections, each of which encodes its place; and the same folder as a datalist."""
    folder = tmp_path_factory.mktemp("stack")
    pixels = (
        np.random.RandomState(0).randint(0, 200, (16, 20, 24)).astype(np.uint16) + 1000 * np.arange(16)[:, None, None]
    )
    label = np.zeros((16, 20, 24), np.uint8)
    label[:, 4:15, 5:19] = 1
    for name, array in (("image", pixels), ("label", label)):
        (folder / name).mkdir()
        tifffile.imwrite(folder / name / "x.tif", array.astype(np.uint16), photometric="minisblack")
    return folder, pixels, datalist(folder, slices=False)


def names(items):
    return [item["name"] for item in items]


def test_one_stack_trains_validates_and_is_held_out(stack):
    _, pixels, labelled = stack
    held_out = {"select": ["x:14-15"], "name": "held_out"}
    rest = split(labelled, part="others", **held_out)
    validation = {"select": ["x:12-13"], "name": "validation"}
    parts = [split(labelled, part="selected", **held_out)] + [
        split(rest, part=p, **validation) for p in ("selected", "others")
    ]
    assert [names(part) for part in parts] == [["x:14-15"], ["x:12-13"], ["x:0-11"]]
    assert names(split(labelled, part="all", **held_out)) == ["x"]
    for (item,), (start, stop) in zip(parts, [(14, 16), (12, 14), (0, 12)], strict=True):
        loaded = LoadSliced(["image", "label"], spatial_dims=3)(item)
        np.testing.assert_array_equal(loaded["image"][0], pixels[start:stop].transpose(2, 1, 0))
        assert loaded["label"].shape == loaded["image"].shape
        assert loaded["image"].affine[2, 3] == start
    assert len(set(image_fingerprints(item for part in parts for item in part).values())) == 3
    assert smallest_volume(parts[2]) == [24, 20, 12]


@given(st.lists(st.tuples(st.integers(0, 15), st.integers(0, 15)), min_size=1, max_size=4))
def test_every_slice_is_in_one_part(spans):
    items = [{"image": "x.tif", "name": "x:0-15", "slices": (0, 16)}]
    asked, taken = [], set()
    for a, b in spans:
        span = set(range(min(a, b), max(a, b) + 1))
        if not span & taken and len(taken | span) < 16:
            taken |= span
            asked.append(f"x:{min(a, b)}-{max(a, b)}")
    parts = {part: split(items, asked, part=part) for part in ("selected", "others")} if asked else {}
    slices = {part: [z for item in found for z in range(*item["slices"])] for part, found in parts.items()}
    if asked:
        assert (sorted(slices["selected"]), sorted(slices["others"])) == (sorted(taken), sorted({*range(16)} - taken))


@pytest.mark.parametrize(
    ("select", "told"),
    [
        (["x:12-16"], "validation names 'x:12-16': the slices of x that can be chosen are 0 to 15"),
        (["x:3-5", "x:5"], "validation names 'x:5': the slices of x that can be chosen are 0 to 2, 6 to 15"),
        (["x:5-3"], "the slices of x that can be chosen are 0 to 15"),
        (["y:1-2"], "validation names 1 unknown items: y:1-2; the 1 names begin with x"),
        (["x:0-15"], "validation names all 1 items: none is left to train on"),
        (0.2, "--validation 0.2 needs at least 2 images, got 1: annotate more, or --validation 0 trains on all, or "
              "choose some slices of the volume: "
              "--validation \"['x:13-15']\""),
    ],
)  # fmt: skip
def test_bad_ranges(stack, select, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        split(stack[2], select, name="validation")


def test_slices_that_a_file_lacks(stack):
    with pytest.raises(ImageError, match="it has no slice 16: its slices are 0 to 15"):
        LoadSliced("image", spatial_dims=3)({**stack[2][0], "slices": (14, 17)})


def test_layouts_as_volumes(stack, tmp_path):
    for name, kind in (("train-volume", "image"), ("train-labels", "label")):
        (tmp_path / f"{name}.tif").symlink_to(stack[0] / kind / "x.tif")
    (item,) = datalist(tmp_path, slices=False)
    assert item["name"] == "train"
    (tmp_path / "01").mkdir()
    with pytest.raises(ValueError, match="layout ctc gives no volumes"):
        datalist(tmp_path, layout="ctc", slices=False)


def test_a_check_tells_what_follows_from_the_slices_that_train(stack, workflow, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(check_data, "_pace", lambda *_: check_data.Pace(0.5))
    options = {"dataset_dir": str(stack[0]), "spacing": [1, 1, 10], "depth": 3, "tile_size": [92, 92, 9]}
    flow = workflow("volumes.json", held_out=["x:14-15"], validation=["x:12-13"], **options)
    check_data.check_data(flow.parser, tmp_path / "check.html")
    assert "what follows for a training" in capsys.readouterr().out


def test_a_training_and_its_evaluation(stack, workflow, tmp_path):
    folder = stack[0]
    options = {"dataset_dir": str(folder), "spacing": [1, 1, 10], "samples_per_epoch": 1}
    options |= {"depth": 3, "max_epochs": 1, "val_interval": 1, "run_name": "slices", "tile_size": [92, 92, 9]}
    options |= {"held_out": ["x:14-15"], "validation": ["x:12-13"], "cells#split_by": None}
    workflow("volumes.json", **options).run()
    network = TrainedNetwork(tmp_path / "model.pt")
    assert list(network.card["data"]["trained_on"]) == ["x:0-11"]
    assert network.build().flat_levels == [0, 0, 3]
    evaluation = {"run_id": "evaluating", "part": "held_out", "evaluation_dir": str(tmp_path / "out")}
    workflow("volumes.json", "evaluate.json", **options, **evaluation).run()
    assert 0 <= summary(tmp_path / "out")["iou"] <= 1
    assert (tmp_path / "out" / "images.csv").read_text().splitlines()[1].startswith("x:14-15,")
    assert [file.name[:7] for file in (tmp_path / "out" / "pictures").glob("*.png")] == ["x_14-15"]
    labelled = datalist(folder, slices=False)
    network.require_unseen([{**labelled[0], "name": "x:14-15", "slices": (14, 16)}], "held_out")
    for seen in ({**labelled[0], "name": "x:3-3", "slices": (3, 4)}, labelled[0], datalist(folder)[5]):
        with pytest.raises(ValueError, match="x:0-11"):
            network.require_unseen([seen], "held_out")


def sliced(tmp_path, pages=12):
    for name in ("image", "label"):
        (tmp_path / name).mkdir()
        tifffile.imwrite(tmp_path / name / "b.tif", np.zeros((pages, 4, 5), np.uint8), photometric="minisblack")
        for number in (7, 10):
            tifffile.imwrite(tmp_path / name / f"c{number}.tif", np.zeros((4, 5), np.uint8))
    return datalist(tmp_path)


def test_ranges_of_slices_that_are_items_already(tmp_path):
    items = sliced(tmp_path)
    held_out = split(items, ["b:10-11", "c7"], part="selected")
    assert names(held_out) == ["b-10", "b-11", "c7"]
    rest = split(items, ["b:10-11", "c7"], part="others")
    assert names(split(rest, ["b:8-9"], part="selected")) == ["b-08", "b-09"]
    assert names(split(rest, ["b:8-9"], part="others")) == [f"b-{k:02d}" for k in range(8)] + ["c10"]
    for name, told in (("b:9-10", "lies from 0 to 9"), ("b:5-4", "lies from 0 to 9"), ("b:40", "lies from 0 to 9")):
        with pytest.raises(ValueError, match=f"validation names '{name}': what can be chosen {told}"):
            split(rest, [name], name="validation")
    gap = [item for item in items if item["name"] != "b-04"]
    with pytest.raises(ValueError, match="from 0 to 11, without 4"):
        split(gap, ["b:2-6"], name="validation")


def test_places_in_the_list_whatever_the_names(tmp_path):
    """The first of the sections train, the last of these validate, the next are held out, the rest is unused."""
    items = sliced(tmp_path)[:13]
    held_out = split(items, [":10-12"], part="selected")
    assert names(held_out) == ["b-10", "b-11", "c7"]
    rest = split(items, [":10-12"], part="others")
    assert names(split(rest, [":8-9"], part="selected")) == ["b-08", "b-09"]
    assert names(split(rest, [":8-9"], part="others")) == [f"b-{k:02d}" for k in range(8)]
    with pytest.raises(ValueError, match="held_out names ':10-20': what can be chosen lies from 0 to 12"):
        split(items, [":10-20"], name="held_out")
    with pytest.raises(ValueError, match="names one item twice"):
        split(items, [":3-4", "b:4"])

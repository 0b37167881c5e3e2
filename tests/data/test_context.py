"""Neighbouring slices: each in its place, none that a training must not see, the same in training and inference."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.bundle import ConfigWorkflow

from bundle.data.context import FindContextd, StackContextd, neighbours, own_channels
from bundle.data.errors import ImageError
from bundle.data.isbi2012 import datalist
from bundle.data.loading import LoadSliced
from bundle.model import TrainedNetwork
from tests.conftest import ROOT


def stack(path, pages, size=(20, 24)):
    """Every page of its own value, and every pixel of its own place: value = 1000 page + x + 24 y."""
    plane = np.arange(size[0] * size[1], dtype=np.float32).reshape(size)
    tifffile.imwrite(path, np.stack([1000 * page + plane for page in pages]), photometric="minisblack")
    return str(path)


@given(st.data())
def test_neighbours_are_those_at_hand_else_their_mirrored_counterparts(data):
    count, reach = data.draw(st.integers(1, 8)), data.draw(st.integers(0, 3))
    index = data.draw(st.integers(0, count - 1))
    allowed = data.draw(st.none() | st.sets(st.integers(0, count - 1)))
    found = neighbours(index, count, reach, allowed)
    assert len(found) == 2 * reach + 1
    assert found[reach] == index
    for offset, slice_ in zip(range(-reach, reach + 1), found, strict=True):
        there = [i for i in (index + offset, index - offset) if 0 <= i < count and (allowed is None or i in allowed)]
        assert slice_ == (there[0] if there else index)


def loaded(item, find):
    image = LoadSliced("image")(find(item))["image"]
    assert (image[:, 1, 0] - image[:, 0, 0] == 1).all()  # (x, y), each channel whole
    return (image[:, 0, 0] / 1000).int().tolist()


def test_every_neighbour_is_a_channel_in_its_place(tmp_path):
    items = [{"image": stack(tmp_path / "a.tif", range(5)), "slice": index} for index in range(5)]
    find = FindContextd(2)
    assert loaded(items[2], find) == [0, 1, 2, 3, 4]
    assert loaded(items[0], find) == [2, 1, 0, 1, 2]
    assert loaded(items[4], find) == [2, 3, 4, 3, 2]
    assert loaded(items[1], FindContextd(0)) == [1]


def test_a_training_sees_nothing_of_what_is_held_out(tmp_path):
    items = [{"image": stack(tmp_path / "a.tif", range(5)), "slice": index} for index in range(5)]
    training = [items[0], items[1], items[3]]  # 2 and 4 are held out
    find = FindContextd(1, only=training)
    assert [loaded(item, find) for item in training] == [[1, 0, 1], [0, 1, 0], [3, 3, 3]]
    assert loaded(items[2], FindContextd(1)) == [1, 2, 3]  # in evaluation they may be neighbours


def test_labelled_slices_are_found_in_the_stack_of_all_sections_by_their_pixels(tmp_path):
    every = stack(tmp_path / "all.tif", range(6))
    some = stack(tmp_path / "some.tif", [0, 1, 4])
    items = [{"image": some, "slice": index} for index in range(3)]
    assert loaded(items[2], FindContextd(1, every)) == [3, 4, 5]
    assert loaded(items[1], FindContextd(1, every, only=items)) == [0, 1, 0]  # the third section is left out
    other = {"image": stack(tmp_path / "other.tif", [9, 1]), "slice": 0}
    with pytest.raises(ImageError, match="slice 0 pixels are no slice of context_stack"):
        FindContextd(1, every)(other)


@pytest.mark.parametrize("reach", [1, 2])
def test_a_whole_stack_shows_what_each_slice_alone_shows(tmp_path, reach):
    file = stack(tmp_path / "a.tif", range(4))
    whole = StackContextd("image", reach)(LoadSliced("image", spatial_dims=None)({"image": file}))["image"]
    for index in range(4):
        alone = LoadSliced("image")(FindContextd(reach)({"image": file, "slice": index}))["image"]
        assert torch.equal(whole[..., index].as_tensor(), alone.as_tensor())
        np.testing.assert_array_equal(own_channels(alone.numpy(), alone.meta)[0], whole.numpy()[reach, ..., index])


def test_bad_input(tmp_path):
    tifffile.imwrite(tmp_path / "one.tif", np.zeros((8, 8), np.float32))
    with pytest.raises(ImageError, match="single image, without neighbours: set context_slices to 0"):
        FindContextd(1)({"image": str(tmp_path / "one.tif")})
    with pytest.raises(ImageError, match="single image, and the network was trained with 1 neighbouring slices"):
        StackContextd("image", 1)({"image": torch.zeros(1, 8, 8)})
    for wrong in (-1, 1.5, True, "1"):
        with pytest.raises(ValueError, match="context_slices must be a whole number of at least 0"):
            FindContextd(wrong)


def test_training_evaluation_and_inference(tmp_path, workflow):
    """A network that sees neighbours: its card says so, and what follows gives it the same ones."""
    data = tmp_path / "em"
    data.mkdir()
    random = np.random.RandomState(0)
    cells = (random.rand(5, 96, 96) > 0.3).astype(np.uint8) * 255
    tifffile.imwrite(data / "train-labels.tif", cells, photometric="minisblack")
    images = (cells // 2 + random.randint(0, 100, cells.shape)).astype(np.uint8)
    tifffile.imwrite(data / "train-volume.tif", images, photometric="minisblack")
    flow = workflow(dataset_dir=str(data), context_slices=1, run_name="context", validation=1, max_epochs=1)
    flow.run()
    run = tmp_path / "runs" / "context"
    card = json.loads((run / "card.json").read_text())
    assert card["network"]["in_channels"] == 3
    assert card["image"]["context_slices"] == 1
    trained = flow.parser.get_parsed_content("train#dataset#data")
    shown = flow.parser.get_parsed_content("find_training_context").shown
    assert shown == {str(data / "train-volume.tif"): {item["slice"] for item in trained}}
    assert len(trained) == 4 < len(datalist(data))
    assert TrainedNetwork(run / "best.pt").context_slices == 1

    common = {"bundle_root": str(ROOT), "checkpoint": str(run / "best.pt"), "precision": "fp32"}
    infer = ConfigWorkflow(
        str(ROOT / "configs" / "inference.json"), workflow_type="infer", logging_file=False,
        dataset_dir=str(data / "train-volume.tif"), output_dir=str(tmp_path / "out"), **common,
    )  # fmt: skip
    infer.initialize()
    infer.run()
    probability = tifffile.imread(tmp_path / "out" / "train-volume_probability.tif")
    assert probability.shape == (5, 96, 96)
    # the same slice by itself, as evaluation loads it
    item = LoadSliced("image")(FindContextd(1)({"image": str(data / "train-volume.tif"), "slice": 2}))
    image = flow.parser.get_parsed_content("standardize")(item)["image"]
    network = infer.parser.get_parsed_content("network").eval()
    inferer = infer.parser.get_parsed_content("inferer")
    alone = inferer(image[None], network)[0, 0].T
    np.testing.assert_allclose(probability[2], alone, atol=1e-5)

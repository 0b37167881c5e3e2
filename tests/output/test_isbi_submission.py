"""The stack that the ISBI 2012 challenge takes: polarity, order, and what becomes of a folder of its data."""

import logging

import numpy as np
import pytest
import tifffile
import torch
from monai.data import MetaTensor
from monai.transforms import Compose
from PIL import Image

from bundle.data import folder
from bundle.data.isbi2012 import datalist
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.metrics.isbi2012 import MEASURES
from bundle.model import checkpoints
from bundle.networks import UNet
from bundle.output.isbi_submission import SubmissionWriter
from tests.conftest import inference
from transforms import Standardize

PAGES, ROWS, COLUMNS = 12, 20, 28


@pytest.fixture(scope="module")
def challenge(tmp_path_factory):
    """A folder as the challenge hands it out; the labels have a membrane that stands elsewhere in each slice."""
    root = tmp_path_factory.mktemp("isbi2012")
    random = np.random.RandomState(0)
    labels = np.full((PAGES, ROWS, COLUMNS), 255, np.uint8)
    for page in range(PAGES):
        labels[page, :, 2 * page + 1] = 0
        labels[page, page, :] = 0
    for name, array in (
        ("train-volume", random.randint(0, 255, labels.shape).astype(np.uint8)),
        ("train-labels", labels),
        ("test-volume", random.randint(0, 255, labels.shape).astype(np.uint8)),
    ):
        tifffile.imwrite(root / f"{name}.tif", array, photometric="minisblack")
    return root, labels


def item(stack: np.ndarray, source: str = "test-volume.tif") -> dict:
    """Image, probability and cells of a stack (slices, rows, columns) as a chain of transforms has them."""
    axes = torch.from_numpy(np.ascontiguousarray(stack.T))[None]
    image = MetaTensor(axes.float(), meta={"filename_or_obj": source})
    return {"image": image, "pred": axes.float() / 255, "instances": (axes > 0).int()}


def test_a_perfect_network_has_no_error_and_membranes_are_0(challenge, tmp_path, caplog):
    _, labels = challenge
    with caplog.at_level(logging.INFO):
        SubmissionWriter(tmp_path)(item(labels))
    with tifffile.TiffFile(tmp_path / "submission.tif") as file:
        assert file.is_imagej
        assert "1 is cell, 0 is membrane" in str(file.imagej_metadata)
        assert file.imagej_metadata["slices"] == PAGES
        submission = file.asarray()
    assert submission.dtype == np.float32
    assert submission.shape == labels.shape
    assert (submission[labels == 0] == 0).all()
    assert (submission[labels == 255] == 1).all()
    assert {name: measure(labels > 0, submission) for name, measure in MEASURES.items()} == {
        "pixel_error": 0,
        "rand_error": 0,
        "warping_error": 0,
        "v_rand": 1,
        "v_info": 1,
    }
    assert "12 slices, 1 is cell, 0 is membrane" in caplog.text
    names = {f"{page:02d}_{kind}.png" for page in range(PAGES) for kind in ("image", "probability", "cells")}
    assert {file.name for file in (tmp_path / "supplement").iterdir()} == names
    for page in (0, PAGES - 1):
        picture = np.asarray(Image.open(tmp_path / "supplement" / f"{page:02d}_probability.png"))
        np.testing.assert_array_equal(picture, labels[page])


def test_every_pixel_of_every_slice_is_in_its_place_in_either_polarity(tmp_path):
    places = np.arange(PAGES * ROWS * COLUMNS, dtype=np.float32).reshape(PAGES, ROWS, COLUMNS) * 255 / 10_000
    for one_is, expected in (("cell", places / 255), ("membrane", 1 - places / 255)):
        SubmissionWriter(tmp_path / one_is, one_is, supplement=False)(item(places))
        np.testing.assert_allclose(tifffile.imread(tmp_path / one_is / "submission.tif"), expected, atol=1e-7)
        assert not (tmp_path / one_is / "supplement").exists()


def test_what_is_no_submission_is_refused(tmp_path):
    with pytest.raises(ValueError, match="one_is must be cell or membrane, got 'white'"):
        SubmissionWriter(tmp_path, one_is="white")
    stack = np.zeros((2, 4, 6), np.uint8)
    write = SubmissionWriter(tmp_path, supplement=False)
    write(item(stack))
    with pytest.raises(ValueError, match=r"a submission is one stack, got b.tif after test-volume.tif"):
        write(item(stack, "b.tif"))
    three = item(stack)
    three["pred"] = three["pred"].repeat(3, 1, 1, 1)
    with pytest.raises(ValueError, match="the probability of two classes"):
        SubmissionWriter(tmp_path)(three)


def test_labels_are_no_image_to_segment(challenge, tmp_path):
    root, labels = challenge
    assert [item["name"] for item in folder.images(root, slices=False)] == ["test-volume", "train-volume"]
    tifffile.imwrite(tmp_path / "train-labels.tif", labels, photometric="minisblack")  # of somebody else, not ISBI 2012
    assert [item["name"] for item in folder.images(tmp_path, slices=False)] == ["train-labels"]


def test_the_command_writes_what_the_network_says_of_test_volume(challenge, tmp_path, workflow):
    root, labels = challenge
    torch.manual_seed(0)
    network = UNet(2, 1, 2, base_channels=2, depth=2).eval()
    checkpoints.write(tmp_path / "model.pt", network.state_dict())
    options = {"dataset_dir": root, "output_dir": tmp_path / "out", "checkpoint": tmp_path / "model.pt"}
    inference("isbi_submission.json", precision="fp32", **options).run()
    submission = tifffile.imread(tmp_path / "out" / "submission.tif")
    assert submission.shape == (PAGES, ROWS, COLUMNS)
    for page, image in zip(submission, tifffile.imread(root / "test-volume.tif"), strict=True):
        standardized = Standardize()(torch.from_numpy(image.T.astype(np.float32))[None])
        logits = OverlapTileInferer()(standardized[None], network)
        np.testing.assert_allclose(page, torch.softmax(logits, 1)[0, 1].numpy().T, atol=1e-5)
    # and class 1, whose probability this is, is what 255 of the labels became in training
    parsed = workflow(dataset_dir=str(root)).parser.get_parsed_content
    taught = Compose([*parsed("load"), *parsed("targets")])(datalist(root)[3])
    np.testing.assert_array_equal(np.asarray(taught["label"][0]).T == 1, labels[3] > 0)

"""Networks that see neighbouring sections, or whole volumes, in the real server."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from bundle.data.context import StackContextd
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.model import TrainedNetwork, checkpoints
from bundle.model.card import write_card
from bundle.networks import UNet
from label_app.prepare import prepare
from tests.label import images
from transforms import Standardize


@pytest.fixture(scope="module")
def stack(cells):
    pages = [tifffile.imread(cells / "image" / f"00{number}.tif")[:40, :36] for number in range(4)]
    return np.stack(pages)


def make(folder, stack, arguments, card):
    """An app with a network of random weights, and a folder of images, one of them single."""
    torch.manual_seed(1)  # of 0, the first network finds nothing
    model, studies = folder / "network.pt", folder / "studies"
    studies.mkdir()
    arguments = {"in_channels": 1, "out_channels": 2, "base_channels": 2, "depth": 1, **arguments}
    checkpoints.write(model, UNet(**arguments).state_dict())
    entry = {"network": {"_target_": "bundle.networks.UNet", **arguments}, **card}
    write_card(model.with_suffix(".json"), entry, of=model)
    prepare(folder / "app", model=model)
    tifffile.imwrite(studies / "stack.tif", stack, photometric="minisblack")
    nib.save(nib.Nifti1Image(stack.T, images.AFFINE), studies / "volume.nii.gz")
    Image.fromarray(stack[0]).save(studies / "single.png")
    return folder / "app", studies


def foreground(model, stack, spatial_dims, context=0):
    """(slices, rows, columns): where the network finds more cell than background."""
    network = TrainedNetwork(model).load().eval()
    volume = torch.from_numpy(stack.T[None].astype(np.float32).copy())
    shown = StackContextd("image", context)({"image": Standardize(spatial_dims=spatial_dims)(volume)})["image"]
    return OverlapTileInferer(stack_axis=-1, precision="auto")(shown[None], network)[0].softmax(0)[1].numpy().T > 0.5


def test_a_network_that_sees_neighbours_takes_stacks_alone(stack, run_server, tmp_path):
    card = {"image": {"channels": 1, "context_slices": 1}}
    server = run_server(*make(tmp_path, stack, {"spatial_dims": 2, "in_channels": 3}, card))
    expected = foreground(server.model, stack, 2, context=1)
    assert 0 < expected.mean() < 1
    assert (expected != foreground(server.model, np.stack([stack[0]] * 4), 2, context=1)).any()
    np.testing.assert_array_equal(images.read(server.mask("stack", tmp_path)) > 0, expected)
    answer = server.infer("single")
    assert answer.status_code == 422
    assert "it is a single image, and the network was trained with 1 neighbouring slices on each side" in answer.text


def test_a_network_of_volumes_takes_a_nifti_file(stack, run_server, tmp_path):
    card = {"image": {"channels": 1, "spacing": [1, 1, 1]}, "cells": {"spatial_dims": 3, "min_size": 3}}
    server = run_server(*make(tmp_path, stack, {"spatial_dims": 3}, card))
    expected = foreground(server.model, stack, 3)
    assert 0 < expected.mean() < 1
    mask = server.mask("volume", tmp_path)
    np.testing.assert_array_equal(images.read(mask) > 0, expected)
    np.testing.assert_allclose(nib.load(mask).affine, images.AFFINE, atol=1e-5)
    numbered = images.read(server.mask("volume", tmp_path, instances=True))
    assert len(np.unique(numbered)) > 1
    through = [np.unique(page[page > 0]) for page in numbered]
    assert set(through[0]) & set(through[1])  # one cell has one number in all its slices
    answer = server.infer("single")
    assert answer.status_code == 422, answer.text
    assert server.post("/train/cells").json()["status"] in ("SUBMITTED", "RUNNING")
    server.wait_for(lambda: server.get("/train/").json()["status"] not in ("SUBMITTED", "RUNNING"))
    assert "MONAI Label trains networks of slices" in "\n".join(server.get("/train/").json()["details"])

"""Inference as a user runs it: every kind of file in, the same geometry out."""

import csv
from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pytest
import tifffile
import torch
from monai.data import MetaTensor
from PIL import Image

from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.model import checkpoints
from bundle.networks import UNet
from transforms import Standardize

AFFINE = np.array([[0.5, 0.1, 0, 3], [-0.1, 0.5, 0, 4], [0, 0, 2, 5], [0, 0, 0, 1.0]])


@pytest.fixture(scope="module")
def images():
    random = np.random.RandomState(0)
    return random.randint(0, 255, (4, 40, 56)).astype(np.uint8)


@pytest.fixture(scope="module")
def segmented(tmp_path_factory, bundle_run, images):
    """One folder with every kind of file and two broken ones, and what the command makes of it."""
    folder = tmp_path_factory.mktemp("inference")
    source = folder / "in"
    source.mkdir()
    Image.fromarray(images[0]).save(source / "a_png.png")
    tifffile.imwrite(source / "b_stack.tif", images, photometric="minisblack")
    nib.save(nib.Nifti1Image(images.transpose(2, 1, 0), AFFINE), source / "c_nifti.nii.gz")
    volume = itk.image_from_array(images)
    volume.SetSpacing([0.5, 0.25, 3.0])
    volume.SetOrigin([1.0, 2.0, 3.0])
    itk.imwrite(volume, str(source / "d_meta.mha"))
    (source / "e_cut.tif").write_bytes((source / "b_stack.tif").read_bytes()[:3000])
    tifffile.imwrite(source / "f_nan.tif", np.full((20, 20), np.nan, np.float32))

    torch.manual_seed(0)
    network = UNet(2, 1, 2, base_channels=2, depth=2).eval()
    checkpoints.write(folder / "model.pt", network.state_dict())
    result = bundle_run(
        "run",
        "configs/inference.json",
        dataset_dir=str(source),
        output_dir=str(folder / "out"),
        checkpoint=str(folder / "model.pt"),
        precision="fp32",
        real=True,
    )
    return folder / "out", result, network


def expected(network, image):
    """Probability of cell of one (rows, columns) image; the network sees (x, y), as MONAI's readers give it."""
    standardized = Standardize()(torch.from_numpy(image.T.astype(np.float32))[None])
    logits = OverlapTileInferer()(standardized[None], network)
    return torch.softmax(logits, dim=1)[0, 1].numpy().T


def test_the_rest_goes_on_but_the_command_fails(segmented):
    out, result, _ = segmented
    assert result.returncode != 0
    assert "e_cut.tif" in result.stderr
    assert "f_nan.tif" in result.stderr
    assert "NaN" in result.stderr
    assert result.stderr.strip().splitlines()[-2].startswith("error: ")
    with (out / "summary.csv").open() as file:
        rows = [Path(row["file"]).name for row in csv.DictReader(file)]
    assert rows == ["a_png.png", "b_stack.tif", "c_nifti.nii.gz", "d_meta.mha"]


def test_png(segmented, images):
    out, _, network = segmented
    found = tifffile.imread(out / "a_png_probability.tif")
    np.testing.assert_allclose(found, expected(network, images[0]), atol=1e-5)
    assert tifffile.imread(out / "a_png_cells.tif").dtype == np.uint16
    assert np.asarray(Image.open(out / "a_png_overlay.png")).shape == (40, 56, 3)


def test_a_stack_stays_a_stack_of_independent_slices(segmented, images):
    out, _, network = segmented
    found = tifffile.imread(out / "b_stack_probability.tif")
    assert found.shape == images.shape
    for page, image in zip(found, images, strict=True):
        np.testing.assert_allclose(page, expected(network, image), atol=1e-5)


def test_nifti_keeps_its_affine(segmented, images):
    out, _, network = segmented
    found = nib.load(out / "c_nifti_probability.nii.gz")
    np.testing.assert_allclose(found.affine, AFFINE, atol=1e-6)
    np.testing.assert_allclose(found.get_fdata()[:, :, 2].T, expected(network, images[2]), atol=1e-5)


def test_mha_keeps_its_spacing(segmented, images):
    out, _, network = segmented
    found = itk.imread(str(out / "d_meta_probability.mha"))
    assert list(found.GetSpacing()) == [0.5, 0.25, 3.0]
    assert list(found.GetOrigin()) == [1.0, 2.0, 3.0]
    np.testing.assert_allclose(itk.array_from_image(found)[1], expected(network, images[1]), atol=1e-5)


def test_cells_are_the_components_of_the_probability(segmented):
    out, _, _ = segmented
    cells = tifffile.imread(out / "a_png_cells.tif")
    probability = tifffile.imread(out / "a_png_probability.tif")
    assert set(np.unique(cells)) == set(range(cells.max() + 1))
    assert (probability[cells > 0] > 0).all()


def test_standardize_treats_a_slice_alike_alone_and_in_its_stack():
    random = np.random.RandomState(1)
    stack = torch.from_numpy(random.rand(1, 8, 9, 3)).float() * torch.tensor([1.0, 50, 0])
    together = Standardize()(stack)
    for k in range(3):
        torch.testing.assert_close(together[..., k], Standardize()(stack[..., k]))
    assert (together[..., 2] == 0).all()
    assert together[..., 1].mean().item() == pytest.approx(0, abs=1e-5)
    assert together[..., 1].std(correction=0).item() == pytest.approx(1, abs=1e-4)
    kept = Standardize()(MetaTensor(stack, meta={"filename_or_obj": "x"}))
    assert kept.meta["filename_or_obj"] == "x"

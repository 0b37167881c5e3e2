"""Transforms of volumes whose axes have different spacing."""

import numpy as np
import pytest
import torch

from bundle.geometry import AxesGeometry, ValidGeometry
from tests.reference.elastic import cubic_field, read_nearest
from tests.reference.separation import separate
from transforms import CropToOutput, RandElasticGrid, RandGrayCurve, SeparateTouching, Standardize


def volume(*size: int) -> np.ndarray:
    return np.arange(np.prod(size), dtype=np.float32).reshape(1, *size)


@pytest.mark.parametrize(("spacing", "axes"), [((1, 1, 3), (1, 2)), ((3, 1, 1), (2, 3)), ((1, 3, 1), (1, 3))])
def test_rotation_stays_in_the_plane_of_equal_spacing(spacing, axes):
    size = [7 if each == 1 else 4 for each in spacing]
    turn = RandElasticGrid(sigma=0, rotate_range=(np.pi / 2, np.pi / 2), spacing=spacing)
    np.testing.assert_array_equal(turn(volume(*size), mode="nearest"), np.rot90(volume(*size), 1, axes))


def test_nothing_turns_where_all_axes_differ():
    turn = RandElasticGrid(sigma=0, rotate_range=(0.3, 0.3), spacing=(1, 2, 4))
    np.testing.assert_array_equal(turn(volume(5, 5, 5)), volume(5, 5, 5))
    with pytest.raises(ValueError, match=r"spacing has 3 values \(1, 2, 4\), the image has 2 axes"):
        turn(np.zeros((1, 5, 5), np.float32))


@pytest.mark.filterwarnings("ignore:the deformation folds")
def test_the_elastic_grid_moves_voxels_as_far_in_physical_units_along_every_axis():
    size, spacing = (9, 8, 5), (0.5, 0.5, 1.5)
    warp = RandElasticGrid(sigma=0.8, spacing=spacing, on_fold="warn").set_random_state(3)
    plain = RandElasticGrid(sigma=0.8, on_fold="warn").set_random_state(3)
    image = volume(*size)
    found = warp(image, mode="nearest")[0]
    plain.randomize(size)
    displacement = plain.sampling.displacement.copy()
    displacement[2] /= 3  # the spacing along this axis is 3 px of the others
    np.testing.assert_allclose(warp.sampling.displacement, displacement, rtol=1e-5, atol=1e-6)
    # and the field is the spline through the vectors, read voxel by voxel
    vectors = displacement[:, ::4, :, ::2][:, :, [0, 3, -1]]
    np.testing.assert_allclose(cubic_field(vectors, (9, 8, 5))[:, :, [0, -1]], displacement[:, :, [0, -1]], atol=1e-5)
    moved = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij")) + displacement
    expected = [read_nearest(image[0], moved[(slice(None), *at)]) for at in np.ndindex(*size)]
    np.testing.assert_array_equal(found, np.reshape(expected, size))


def test_the_crop_takes_off_the_margin_of_every_axis():
    geometry = AxesGeometry((ValidGeometry(2), ValidGeometry(2), ValidGeometry(2, 2)))
    cropped = CropToOutput(geometry=geometry)(torch.from_numpy(volume(44, 48, 9)))
    np.testing.assert_array_equal(cropped.numpy(), volume(44, 48, 9)[:, 20:24, 20:28, 2:7])
    with pytest.raises(ValueError, match="46 px along axis 1 is not valid"):
        CropToOutput(geometry=geometry)(torch.zeros(1, 44, 46, 9))


def test_touching_cells_are_separated_in_a_volume():
    cells = np.random.RandomState(0).randint(0, 4, (6, 5, 4)).astype(np.int32)
    cells = cells.repeat(3, 0).repeat(3, 1).repeat(3, 2)
    for width in (1, 2):
        np.testing.assert_array_equal(SeparateTouching(width)(cells[None])[0], separate(cells, width))


def test_gray_values_of_a_volume():
    image = np.random.RandomState(0).rand(1, 6, 5, 4).astype(np.float32)
    curve = RandGrayCurve().set_random_state(0)
    curved = curve(image)
    order = image.ravel().argsort()
    assert (np.diff(curved.ravel()[order]) >= 0).all()  # one rising curve for all slices
    whole = Standardize(spatial_dims=3)(image)
    assert (float(whole.mean()), float(whole.std(correction=0))) == pytest.approx((0, 1), abs=1e-5)
    assert abs(float(whole[..., 0].mean())) > 1e-3  # not slice by slice

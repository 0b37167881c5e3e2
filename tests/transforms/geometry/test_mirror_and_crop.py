import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import Compose

from bundle.geometry import ValidGeometry
from transforms import CropToOutput, CropToOutputd, MirrorPad


@given(
    st.lists(st.integers(1, 6), min_size=2, max_size=3),
    st.lists(st.tuples(st.integers(0, 15), st.integers(0, 15)), min_size=3, max_size=3),
)
@settings(max_examples=100, deadline=None)
def test_equals_numpy_reflect_for_any_margin(size, margins):
    image = np.arange(2 * np.prod(size)).reshape(2, *size)
    pairs = margins[: len(size)]
    np.testing.assert_array_equal(MirrorPad(pairs)(image), np.pad(image, [(0, 0), *pairs], mode="reflect"))


def test_margins_for_all_axes_one_an_axis_and_both_sides(positions):
    image = positions(4, 5)
    assert MirrorPad(3)(image).shape == (1, 10, 11)
    assert MirrorPad((0, 2))(image).shape == (1, 4, 9)
    assert MirrorPad([[1, 0], [0, 2]])(image).shape == (1, 5, 7)


def test_mirror_pad_keeps_kind_and_dtype_and_moves_the_origin(kind):
    image = np.arange(24, dtype=np.int16).reshape(1, 4, 6)
    out = MirrorPad((2, 7))(kind(image))
    assert kind.is_kept_by(out)
    np.testing.assert_array_equal(np.asarray(out), np.pad(image, [(0, 0), (2, 2), (7, 7)], mode="reflect"))
    assert np.asarray(out).dtype == np.int16
    if isinstance(out, MetaTensor):
        pixel_of_the_old_origin = torch.tensor([2.0, 7.0, 0.0, 1.0], dtype=torch.float64)
        np.testing.assert_allclose(out.affine @ pixel_of_the_old_origin, [0, 0, 0, 1])


def test_impossible_margins_are_refused(positions):
    with pytest.raises(ValueError, match="at least 0 px, got -1"):
        MirrorPad(-1)
    with pytest.raises(ValueError, match=r"names 3 axes, the image has 2"):
        MirrorPad((1, 2, 3))(positions(4, 5))


@pytest.mark.parametrize(("depth", "size", "inside"), [(4, (572, 188), (388, 4)), (1, (18, 20, 22), (2, 4, 6))])
def test_crop_takes_the_middle(positions, depth, size, inside):
    image = positions(*size)
    out = CropToOutput(depth)(image)
    margin = ValidGeometry(depth).margin
    assert out.shape[1:] == inside
    np.testing.assert_array_equal(out, image[(slice(None), *(slice(margin, -margin) for _ in size))])


def test_crop_after_padding_by_the_margin_gives_the_image_back(positions):
    geometry = ValidGeometry(2)
    image = positions(4, 8)
    padded = MirrorPad(geometry.margin)(image)
    np.testing.assert_array_equal(CropToOutput(2)(padded), image)


def test_crop_follows_the_affine_and_can_be_inverted(positions):
    label = MetaTensor(torch.from_numpy(positions(44, 48)))
    crop = CropToOutputd("label", depth=2)
    out = crop({"label": label})
    np.testing.assert_allclose(out["label"].affine[:2, 3], [20, 20])
    restored = crop.inverse(out)["label"]
    np.testing.assert_array_equal(restored[:, 20:24, 20:28], label[:, 20:24, 20:28])
    assert restored.shape == label.shape


def test_lazy_crop_equals_the_immediate_one(positions):
    label = MetaTensor(torch.from_numpy(positions(44, 48)))
    pending = CropToOutput(2, lazy=True)(label)
    assert pending.shape == label.shape
    assert pending.peek_pending_shape() == (4, 8)
    applied = Compose([CropToOutputd("label", depth=2)], lazy=True)({"label": label})["label"]
    np.testing.assert_array_equal(applied, CropToOutput(2)(label))
    with pytest.raises(ValueError, match="input size 4 px along axis 0"):
        CropToOutput(2, lazy=True)(pending)


def test_a_size_the_network_does_not_take_is_refused(positions):
    with pytest.raises(ValueError, match=r"570 px along axis 1.*nearest are 556 and 572"):
        CropToOutput(4)(positions(572, 570))

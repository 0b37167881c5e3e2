"""Balanced training windows, on images whose pixels encode their position."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data import DataLoader, Dataset, MetaTensor
from monai.transforms import Compose

from bundle.data.dataset import TileDataset
from transforms.geometry.windows import RandBalancedWindows, RandBalancedWindowsd
from transforms.labels.instances import IGNORE


def middles(windows: list, width: int) -> np.ndarray:
    """(row, column) of the middle of every window of a position image."""
    m = windows[0].shape[-1] // 2
    flat = np.array([int(window[0, m, m]) for window in windows])
    return np.stack(np.divmod(flat, width), axis=1)


@given(st.integers(0, 1000), st.sampled_from(["mirror", "inside"]), st.floats(0.02, 0.9), st.floats(0, 0.9))
def test_half_of_the_windows_are_cells_and_none_is_ignored(
    seed: int, border: str, cells: float, ignored: float
) -> None:
    random = np.random.RandomState(seed)
    label = (random.rand(1, 13, 17) < cells).astype(np.int32) * 7
    label[random.rand(*label.shape) < ignored] = IGNORE
    label[0, 6, 7:9] = 0, 7  # both classes are there, even where windows fit inside
    image = np.arange(13 * 17, dtype=np.float32).reshape(1, 13, 17)
    cut = RandBalancedWindows(5, 20, border).set_random_state(seed)
    windows = cut(image, label)
    drawn = middles(windows, 17)
    values = label[0][tuple(drawn.T)]
    assert (values == 0).sum() == (values > 0).sum() == 10
    if border == "inside":
        assert drawn.min(axis=0).tolist() >= [2, 2]
        assert drawn.max(axis=0).tolist() <= [10, 14]
    mirrored = np.pad(image, [(0, 0), (2, 2), (2, 2)], mode="reflect")
    for (row, column), window in zip(drawn, windows, strict=True):
        np.testing.assert_array_equal(window, mirrored[:, row : row + 5, column : column + 5])


def test_every_pixel_of_a_class_is_drawn_equally_often() -> None:
    label = np.zeros((1, 6, 6), np.int32)
    label[0, 0, :3] = 1  # in the corner: its windows are mirrored
    cut = RandBalancedWindows(3, 6600).set_random_state(0)
    cut(np.zeros((1, 6, 6), np.float32), label)
    counts = np.zeros((6, 6))
    np.add.at(counts, tuple(cut.centres.T), 1)
    np.testing.assert_allclose(counts[label[0] == 1], 1100, rtol=0.15)
    np.testing.assert_allclose(counts[label[0] == 0], 100, rtol=0.45)


@pytest.mark.parametrize(("missing", "shares"), [(None, [4, 3, 3]), (1, [5, 0, 5])])
def test_several_classes_have_equal_shares_of_the_windows(missing, shares) -> None:
    label = np.random.RandomState(0).randint(0, 3, (1, 12, 12))
    label[label == missing] = IGNORE
    item = {"image": torch.zeros(1, 12, 12), "label": torch.from_numpy(label)}
    windows = RandBalancedWindowsd("image", 3, 10, classes=3).set_random_state(0)(item)
    assert np.bincount([int(window["label"]) for window in windows], minlength=3).tolist() == shares
    with pytest.raises(ValueError, match="num_samples must be an integer of at least 3, one for each class, got 2"):
        RandBalancedWindows(3, 2, classes=3)


def test_a_weight_of_zero_is_as_good_as_ignored() -> None:
    """A class map has no ignored pixels: its weight map tells."""
    label, weight = np.zeros((1, 9, 9), np.int64), np.full((1, 9, 9), 0.3, np.float32)
    label[0, :4] = 1
    weight[0, :, 2:] = 0
    cut = RandBalancedWindows(3, 40).set_random_state(1)
    cut(np.zeros((1, 9, 9), np.float32), label, weight)
    assert cut.centres[:, 1].max() <= 1
    assert (label[0][tuple(cut.centres.T)] == 1).sum() == 20
    assert cut.weight == 1


@pytest.mark.parametrize("value", [0, 3])
def test_where_one_class_is_missing_all_are_the_others(value: int) -> None:
    label = np.full((1, 9, 9), IGNORE, np.int32)
    label[0, 4, 4:] = value
    cut = RandBalancedWindows(3, 8).set_random_state(2)
    assert len(cut(np.zeros((1, 9, 9), np.float32), label)) == 8
    assert (label[0][tuple(cut.centres.T)] == value).all()


def test_where_nothing_is_annotated_the_weight_is_zero() -> None:
    item = {"image": torch.zeros(1, 9, 9), "label": torch.full((1, 9, 9), IGNORE)}
    cut = RandBalancedWindowsd("image", 3, 4)
    assert [window["weight"].item() for window in cut(item)] == [0, 0, 0, 0]
    item["label"][0, 0, 0] = 1
    assert [window["weight"].item() for window in cut(item)] == [1, 1, 1, 1]


def test_dictionary_form_keeps_kinds_and_gives_the_class_of_the_middle(kind) -> None:
    label = np.zeros((1, 11, 12), np.int32)
    label[0, 3:6, 2:9] = 5
    image = np.arange(132, dtype=np.float32).reshape(1, 11, 12)
    item = {"image": kind(image), "other": kind(image + 0.5), "label": kind(label), "name": "cells.png"}
    items = RandBalancedWindowsd(["image", "other"], 7, 6).set_random_state(3)(item)
    assert len(items) == 6
    for one in items:
        assert all(kind.is_kept_by(one[key]) for key in ("image", "other", "label", "weight"))
        window, other = np.asarray(one["image"]), np.asarray(one["other"])
        np.testing.assert_array_equal(other, window + 0.5)
        row, column = divmod(int(window[0, 3, 3]), 12)
        assert np.asarray(one["label"]).item() == (label[0, row, column] == 5)
        assert (one["label"].shape, one["weight"].shape, window.shape) == ((1, 1, 1), (1, 1, 1), (1, 7, 7))
        assert np.asarray(one["label"]).dtype == np.int64
        assert one["name"] == "cells.png"
        if isinstance(one["image"], MetaTensor):
            assert one["image"].meta["filename_or_obj"] == "cells.png"
    assert item["label"].shape == (1, 11, 12)


def test_the_loader_makes_one_batch_of_the_windows_of_two_images() -> None:
    label = torch.zeros(1, 9, 9)
    label[0, 2] = 1
    data = [{"image": MetaTensor(torch.full((1, 9, 9), float(k))), "label": label} for k in range(2)]
    (batch,) = DataLoader(Dataset(data, RandBalancedWindowsd("image", 5, 4)), batch_size=2)
    assert batch["image"].shape == (8, 1, 5, 5)
    assert batch["label"].flatten().tolist() == [0, 0, 1, 1] * 2
    assert batch["weight"].shape == (8, 1, 1, 1)
    assert batch["image"][:, 0, 2, 2].tolist() == [0] * 4 + [1] * 4


def test_the_data_set_fixes_the_windows_of_a_sample_by_its_seed() -> None:
    label = torch.ones(1, 20, 20, dtype=torch.int32)
    label[..., 0] = 0
    item = {"image": torch.arange(400.0).reshape(1, 20, 20), "label": label}

    def windows(seed: int, index: int) -> torch.Tensor:
        cut = Compose([RandBalancedWindowsd("image", 5, 8)])
        return torch.stack([one["image"] for one in TileDataset([item], cut, samples_per_epoch=2, seed=seed)[index]])

    assert torch.equal(windows(0, 1), windows(0, 1))
    assert not torch.equal(windows(0, 1), windows(0, 0))
    assert not torch.equal(windows(0, 1), windows(1, 1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"window": 64}, "window must be odd, got 64; the nearest are 63 and 65"),
        ({"num_samples": 7}, "num_samples must be an even integer of at least 2, half for each class, got 7"),
        ({"num_samples": 0}, "num_samples must be an even integer"),
        ({"border": "zeros"}, "border must be one of mirror, inside, got 'zeros'"),
    ],
)
def test_bad_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RandBalancedWindows(**({"window": 5} | arguments))


@pytest.mark.parametrize(
    ("image", "label", "weight", "message"),
    [
        (
            (1, 9, 20),
            (1, 9, 20),
            None,
            r"window 11 px is larger than the image of \(9, 20\) px: the smallest image is 11 px",
        ),
        ((1, 10, 20), (1, 10, 20), None, "the smallest image is 11 px along both axes"),
        ((1, 20, 20), (1, 20, 20, 20), None, "2D images CHW"),
        ((1, 20, 21), (1, 20, 20), None, r"the image is \(20, 21\) px, the label was \(20, 20\)"),
        ((1, 20, 20), (1, 20, 20), (1, 20, 19), r"weight is \(20, 19\) px, the label \(20, 20\)"),
        ((1, 20, 20), None, None, "label must be given"),
    ],
)
def test_bad_inputs(image: tuple, label: tuple | None, weight: tuple | None, message: str) -> None:
    label, weight = (None if shape is None else np.ones(shape) for shape in (label, weight))
    with pytest.raises(ValueError, match=message):
        RandBalancedWindows(11)(np.zeros(image), label, weight)


def test_cutting_again_needs_a_draw() -> None:
    with pytest.raises(RuntimeError, match="nothing was drawn yet"):
        RandBalancedWindows(5)(np.zeros((1, 9, 9)), randomize=False)

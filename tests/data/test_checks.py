"""No image trains and measures, and labels have something to learn."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from bundle.data.checks import require_apart, require_objects
from transforms import LabelToInstances


def pixels(seed):
    image = ndimage.gaussian_filter(np.random.RandomState(seed).normal(size=(160, 170)), 3)
    return np.rint(255 * (image - image.min()) / np.ptp(image)).astype(np.uint8)


@pytest.fixture
def items(tmp_path):
    for number in range(4):
        tifffile.imwrite(tmp_path / f"{number}.tif", pixels(number))
    return [{"image": str(tmp_path / f"{number}.tif"), "name": str(number)} for number in range(4)]


def test_parts_without_an_image_in_common(items, caplog):
    require_apart(items, items[:2], items[2:3])
    require_apart([], items[:2], items[2:3])
    assert not caplog.text


@pytest.mark.parametrize(("measured", "option"), [(2, "validation"), (3, "held_out")])
def test_a_training_image_that_measures_is_refused_by_both_files(items, measured, option):
    tifffile.imwrite(items[measured]["image"], 257 * np.rot90(pixels(1)).astype(np.uint16))
    with pytest.raises(ValueError, match=rf"{option} has 1 of 1 images .*/{measured}\.tif is .*/1\.tif; .*--{option}"):
        require_apart(items, items[:2], items[2:3])


def test_of_lists_that_are_fed_nothing_is_held_out(items):
    tifffile.imwrite(items[3]["image"], pixels(1))
    require_apart(items[3:], items[:2], items[2:3])


def test_a_near_copy_is_named(items, caplog):
    tifffile.imwrite(items[2]["image"], pixels(1)[2:, 1:])
    with caplog.at_level(logging.WARNING):
        require_apart(items, items[:2], items[2:3])
    assert "validation has 1 of 1 images that are nearly training images" in caplog.text
    assert f"{items[2]['image']} like {items[1]['image']} (correlation 0.9" in caplog.text


def test_black_frames_and_pages_of_one_stack_are_no_copies(tmp_path):
    for name in "ab":
        tifffile.imwrite(tmp_path / f"{name}.tif", np.zeros((20, 20), np.uint8))
    stack = np.stack([pixels(seed) for seed in range(3)])
    tifffile.imwrite(tmp_path / "stack.tif", stack, photometric="minisblack")
    pages = [{"image": str(tmp_path / "stack.tif"), "name": str(page), "slice": page} for page in range(3)]
    require_apart(pages, pages[:1], pages[1:2])
    black = [{"image": str(tmp_path / f"{name}.tif"), "name": name} for name in "ab"]
    require_apart(black, black[:1], black[1:])


@pytest.mark.parametrize(("trains", "measures"), [("b", "a:0-3"), ("a:4-7", "b"), ("a:4-7 b", "a:0-3"), ("b", "a")])
def test_slices_of_a_copied_volume_are_known(tmp_path, trains, measures):
    items = {}
    for name in "ab":
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(path, np.stack([pixels(seed) for seed in range(8)]), photometric="minisblack")
        items[name] = {"image": str(path), "name": name}
    for first in (0, 4):
        items[f"a:{first}-{first + 3}"] = {**items["a"], "slices": (first, first + 4)}
    with pytest.raises(ValueError, match="validation has 1 of 1 images that training has too"):
        require_apart([], [items[name] for name in trains.split()], [items[measures]])


def cells(swapped=False, seed=0):
    """Round cells, apart, as one value."""
    y, x = np.mgrid[:128, :128]
    centres = [(20 + 30 * i, 20 + 30 * j) for i in range(4) for j in range(4)]
    shift = np.random.RandomState(seed).randint(-3, 4, (16, 2))
    inside = np.zeros((128, 128), bool)
    for (i, j), (di, dj) in zip(centres, shift, strict=True):
        inside |= np.hypot(y - i - di, x - j - dj) < 9
    return np.asarray(LabelToInstances()((inside != swapped)[None].astype(np.int32)))


def membranes():
    """Cells that cover most of the image, with thin membranes between them."""
    seeds = np.zeros((128, 128), bool)
    seeds[tuple(np.random.RandomState(0).randint(0, 128, (2, 30)))] = True
    nearest = ndimage.distance_transform_edt(~seeds, return_distances=False, return_indices=True)
    cell = nearest[0] * 128 + nearest[1]
    edge = ndimage.maximum_filter(cell, 3) != ndimage.minimum_filter(cell, 3)
    return np.asarray(LabelToInstances()((~edge)[None].astype(np.int32)))


def test_swapped_labels_are_suspected(caplog):
    with caplog.at_level(logging.WARNING):
        require_objects([cells(swapped=True, seed=seed) for seed in range(3)], ["a.tif", "b.tif", "c.tif"])
    assert "are objects and background swapped" in caplog.text
    assert "In 3 of 3" in caplog.text
    assert "a.tif, b.tif, c.tif" in caplog.text


def test_swapped_membranes_are_suspected(caplog):
    swapped = np.asarray(LabelToInstances()((membranes() == 0).astype(np.int32)))
    with caplog.at_level(logging.WARNING):
        require_objects([swapped], ["a.tif"])
    assert "swapped" in caplog.text


@pytest.mark.parametrize(
    "label",
    [
        cells(),
        membranes(),
        np.arange(1, 65).repeat(16).reshape(1, 32, 32),  # tissue without background
        np.pad(np.ones((1, 20, 20), int), ((0, 0), (4, 4), (4, 4))),  # one cell alone
        np.where(cells() > 0, 1, -1),  # a few cells annotated, nothing else
    ],
    ids=["cells", "membranes", "tissue", "one cell", "partly annotated"],
)
def test_labels_as_they_should_be_pass_without_a_word(label, caplog):
    with caplog.at_level(logging.WARNING):
        require_objects([label], ["a.tif"])
    assert not caplog.text


def test_gray_values_and_classes_are_no_numbers_of_objects(caplog):
    soft = ndimage.gaussian_filter(np.where(cells() > 0, 255.0, 0.0), (0, 1, 1)).round().astype(np.int32)
    classes = np.where(cells() > 0, 1 + cells() % 2, 0)
    for label in (soft, classes):
        with caplog.at_level(logging.WARNING):
            require_objects([label, cells(), label], ["a.tif", "b.tif", "c.tif"])
        assert "In 2 of 3 most numbers lie in several places" in caplog.text
        assert "a.tif, c.tif" in caplog.text
        caplog.clear()


@pytest.mark.parametrize(("largest", "suspected"), [(255, True), (65535, True), (254, False), (-1, False)])
def test_minus_one_without_a_sign_is_suspected(largest, suspected, caplog):
    label = cells()
    label[..., 64:] = largest
    with caplog.at_level(logging.WARNING):
        require_objects([cells(), label], ["a.tif", "b.tif"])
    assert (f"saved without a sign? It counts as a cell; save the label with signed integers: b.tif ({largest})"
            in caplog.text) == suspected  # fmt: skip


def test_labels_may_have_large_numbers(little_memory, caplog):
    label = cells(swapped=True) * (2**31 - 1)
    with caplog.at_level(logging.WARNING):
        require_objects([label], ["a.tif"])
    assert "swapped" in caplog.text


def test_one_empty_label_among_others_is_no_reason_to_refuse():
    require_objects([np.zeros((1, 128, 128), int), cells(), -np.ones((1, 9, 9), int)], ["a.tif", "b.tif", "c.tif"])


@pytest.mark.parametrize(
    ("value", "told"), [(0, "marks an object"), (-1, "has an annotated pixel"), (3, "has background, all .* are 3")]
)
def test_labels_without_anything_to_learn_are_refused(value, told):
    for count in (1, 2):
        with pytest.raises(ValueError, match=rf"{count} training labels {told}.* as in a\.tif"):
            require_objects([np.full((1, 9, 9), value)] * count, ["a.tif", "b.tif"][:count])

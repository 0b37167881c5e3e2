"""A rectangle of image and label, and labels in colour, through the reader of every training."""

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data import MetaTensor
from PIL import Image

from bundle.data.classes import Classes
from bundle.data.errors import ImageError
from bundle.data.label_colours import cells_of_colours
from bundle.data.load_slice import LoadSlice
from bundle.data.loading import LoadSliced
from bundle.data.roi import Roi
from bundle.data.truth import LoadTruthd

ROWS, COLUMNS = 30, 44


@pytest.fixture
def item(tmp_path):
    """An image whose pixels say where they are, and a label in three colours of which two touch."""
    places = 1000 * np.arange(ROWS)[:, None] + np.arange(COLUMNS)
    tifffile.imwrite(tmp_path / "image.tif", places.astype(np.uint16))
    label = np.zeros((ROWS, COLUMNS, 3), np.uint8)
    label[5:15, 6:16] = (255, 0, 0)
    label[5:15, 16:26] = (0, 128, 0)
    label[20:24, 6:10] = (255, 0, 0)
    label[22:28, 30:40] = (1, 1, 1)
    Image.fromarray(label).save(tmp_path / "label.png")
    return {"image": str(tmp_path / "image.tif"), "label": str(tmp_path / "label.png")}, places, label


def test_the_rectangle_of_image_and_label_as_viewers_show_it(item):
    files, places, label = item
    read = LoadTruthd(["image", "label"], roi="6,3,20,12", label_colours="foreground")(files)
    np.testing.assert_array_equal(read["image"][0].T, places[3:15, 6:26])
    np.testing.assert_array_equal(read["label"][0].T, label[3:15, 6:26].any(-1))
    assert read["label"].dtype == torch.int32
    assert list(read["image"].meta["spatial_shape"]) == [20, 12]
    whole = LoadSliced(["image"])(files)["image"]
    torch.testing.assert_close(read["image"].affine[:, -1], whole.affine @ whole.affine.new_tensor([6, 3, 1]))


def test_a_rectangle_of_a_slice_of_a_stack_and_of_a_volume(tmp_path):
    stack = np.arange(5 * 8 * 9, dtype=np.uint16).reshape(5, 8, 9)
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    page = LoadSlice(roi=(2, 1, 4, 6))(str(tmp_path / "a.tif"), 3)
    np.testing.assert_array_equal(page[0].T, stack[3, 1:7, 2:6])
    assert page.affine[:3, -1].tolist() == [-2, -1, 3]  # of MONAI, which counts x and y the other way
    volume = LoadSlice(spatial_dims=3, roi=(2, 1, 4, 6))(str(tmp_path / "a.tif"), (1, 4))
    np.testing.assert_array_equal(volume[0].numpy().T, stack[1:4, 1:7, 2:6])


def test_class_maps_are_cut_as_well(item, tmp_path):
    files, _, label = item
    table = {"ground": [0, 0, 0], "red": [255, 0, 0], "green": [0, 128, 0], "gray": [1, 1, 1]}
    values = {(parts[0] << 16) + (parts[1] << 8) + parts[2] + (1 << 24): k for k, parts in enumerate(table.values())}
    classes = Classes(tuple(table), "classes", colours=values)
    read = LoadTruthd(["image", "label"], classes=classes, roi=(6, 3, 20, 12))(files)
    part = label[3:15, 6:26]
    np.testing.assert_array_equal(read["label"][0].T, (part[..., 0] == 255) + 2 * (part[..., 1] == 128))
    with pytest.raises(ValueError, match="label_colours is for cells without classes"):
        LoadTruthd(["image", "label"], classes=classes, label_colours="cells")


@pytest.mark.parametrize("bad", ["1,2,3", "0,0,0,5", "-1,0,4,4", "a,b,c,d", (0, 0, 1.5, 4), 5, "0,0,10,1e9"])
def test_what_is_no_rectangle(bad):
    with pytest.raises(ValueError, match="roi must be x,y,width,height in whole px"):
        Roi.of(bad)


def test_a_rectangle_that_does_not_lie_within(item):
    files, *_ = item
    with pytest.raises(ImageError, match=r"it is 44 x 30 px, the region of interest ends at 46 x 14 px"):
        LoadSliced(["image"], roi=(6, 4, 40, 10))(files)


def test_colours_are_cells_and_refused_unless_asked_for(item):
    files, *_ = item
    with pytest.raises(ImageError, match=r"--label_colours foreground or cells, or name a class for each"):
        LoadTruthd(["image", "label"])(files)
    cells = LoadTruthd(["image", "label"], label_colours="cells")(files)["label"][0].T.numpy()
    assert sorted(np.bincount(cells.ravel())[1:]) == [16, 60, 100, 100]
    assert cells[5, 15] != cells[5, 16]  # two colours that touch
    assert cells[5, 6] != cells[20, 6]  # one colour in two places
    with pytest.raises(ValueError, match="label_colours must be foreground or cells, or null, got 'classes'"):
        LoadTruthd(["image", "label"], label_colours="classes")


@given(st.integers(0, 2**32 - 1))
def test_regions_of_colours_are_those_of_a_flood(seed):
    """Pixels are of one cell where a way of neighbours of their colour leads from one to the other."""
    colours = np.array([(0, 0, 0), (9, 0, 0), (0, 9, 0)])[np.random.RandomState(seed).randint(3, size=(6, 7))]
    found = cells_of_colours(MetaTensor(torch.from_numpy(np.moveaxis(colours, 2, 0)).double()), "cells")[0].numpy()
    flooded, number = np.zeros((6, 7), int), 0
    for start in np.ndindex(6, 7):
        if not colours[start].any() or flooded[start]:
            continue
        number += 1
        todo = [start]
        while todo:
            r, c = todo.pop()
            if 0 <= r < 6 and 0 <= c < 7 and not flooded[r, c] and (colours[r, c] == colours[start]).all():
                flooded[r, c] = number
                todo += [(r + 1, c), (r - 1, c), (r, c + 1), (r, c - 1)]
    assert len({*zip(found.ravel(), flooded.ravel(), strict=True)}) == len(np.unique(found)) == len(np.unique(flooded))

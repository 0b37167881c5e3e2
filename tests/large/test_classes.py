"""Cells of several classes read off a stored map, against those of the map in memory."""

from pathlib import Path

import numpy as np
import pytest
import zarr
from ome_zarr_models.v05.image import Image
from ome_zarr_models.v05.image_label import ImageLabel
from scipy import ndimage as ndi

from bundle.cells import CellOptions, FindClassesd, ProbabilityToInstancesd
from bundle.geometry import BlockPlan, ValidGeometry
from bundle.inference.probability import as_read, as_stored
from bundle.large import label_image as label_image_module
from bundle.large.cells.grid import Plane
from bundle.large.job import Job
from bundle.large.label_image import KindsOfCells, label_image, label_type
from bundle.large.result_store import Layout, ResultStore
from bundle.output.segmented import Segmented
from bundle.output.tables import summary_row
from tests.conftest import table

NAMES = ("background", "round", "long", "odd")
TILE = ValidGeometry(1).input_size(12)


def probabilities(size, seed):
    """(classes, x, y[, slices]), smooth."""
    noise = np.random.default_rng(seed).normal(0, 1, (4, *size))
    smooth = ndi.gaussian_filter(noise, (0, 1.2, 1.2, *[0] * (len(size) - 2)), mode="wrap")
    raised = np.exp(12 * smooth + np.array([3, 0, 0, 0.3]).reshape(4, *[1] * len(size)))
    return (raised / raised.sum(axis=0)).astype(np.float32)


def by_blocks(folder, probability, kinds, slice_axis, dtype, labels="uint32"):
    size = probability.shape[1:]
    plan = BlockPlan(ValidGeometry(1).plan(size[:2], TILE), 24)
    slices = size[2] if slice_axis else None
    chunks = (*plan.chunk_sizes, *([1] if slices else []))
    layout = Layout(size, slice_axis, (0.5,) * len(size), chunks, dtype, "0.5", NAMES, labels)
    job = Job(folder, "slide", "slide.zarr")
    store = ResultStore.create(job.path, layout, {})
    whole = tuple((0, n) for n in size)
    Plane(store.levels()[0], classes=layout.class_axis).write(whole, as_stored(probability, dtype))
    row = label_image(job, store, layout, plan, slices, kinds, None, folder / "cells.csv")
    return zarr.open_group(job.path, mode="r"), row


@pytest.mark.parametrize(
    ("slice_axis", "options", "of_each", "dtype"),
    [
        ("", {"min_size": 4}, None, "float32"),
        ("z", {"min_size": 2, "close_gaps": 1}, None, "uint8"),
        ("t", {"min_size": 4}, {}, "float32"),
        ("", {"min_size": 3, "close_gaps": 1, "threshold": 0.4}, {"long": {"low_threshold": 0.2}}, "float16"),
    ],
)
def test_classes_are_those_of_the_whole_map(tmp_path, monkeypatch, slice_axis, options, of_each, dtype):
    monkeypatch.setattr(label_image_module, "_SIDE", 24)
    probability = probabilities((41, 40, 2) if slice_axis else (41, 40), seed=len(slice_axis + dtype))
    shared = CellOptions(spatial_dims=2, **options)
    find = FindClassesd("pred", names=NAMES, of_pixels=of_each is not None, options=shared, options_of=of_each)
    kinds = KindsOfCells(shared, NAMES, tuple(find.options) if of_each is not None else ())
    group, row = by_blocks(tmp_path, probability, kinds, slice_axis, dtype)
    item = {"pred": as_read(as_stored(probability, dtype))}
    expected = find(ProbabilityToInstancesd("pred", "instances", options=shared)(item))
    cells, class_of, class_map = (np.asarray(expected[key]) for key in ("instances", "cell_classes", "class_map"))
    assert cells.max() > 4
    assert set(class_of[1:]) == {1, 2, 3}
    np.testing.assert_array_equal(np.asarray(group["labels/cells/0"][:]).T, cells[0])
    np.testing.assert_array_equal(np.asarray(group["labels/classes/0"][:]).T, class_map[0])
    rows = table(tmp_path / "cells.csv")
    assert [each["class"] for each in rows] == [NAMES[kind] for kind in class_of[1:]]
    assert [int(each["area_px"]) for each in rows] == np.bincount(cells.ravel())[1:].tolist()
    if slice_axis:
        assert [int(each["slice"]) for each in rows] == [
            int(np.argwhere(cells[0] == n)[0, 2]) for n in range(1, len(class_of))
        ]
    whole = Segmented(Path("slide.zarr"), {}, cells, cells, cells[0], NAMES, class_map, class_of)
    assert row == summary_row(whole, "slide_segmentation")
    (scales,) = Image.from_zarr(group).ome_attributes.multiscales
    assert "".join(axis.name for axis in scales.axes) == {"": "cyx", "z": "czyx", "t": "tcyx"}[slice_axis]
    for name in ("cells", "classes"):
        ImageLabel.from_zarr(group[f"labels/{name}"])


def test_more_cells_than_32_bits_count_have_64(tmp_path):
    some = CellOptions(min_size=10)
    assert label_type(10 * (2**32 - 1), KindsOfCells(some)) == "uint32"
    assert label_type(10 * 2**32, KindsOfCells(some)) == "uint64"
    assert label_type(2**32, KindsOfCells(CellOptions())) == "uint64"
    assert label_type(5 * 2**32, KindsOfCells(some, NAMES, (some, some, some))) == "uint64"
    group, _ = by_blocks(tmp_path, probabilities((40, 30), 1), KindsOfCells(some, NAMES), "", "uint8", "uint64")
    assert group["labels/cells/0"].dtype == np.uint64
    ImageLabel.from_zarr(group["labels/cells"])

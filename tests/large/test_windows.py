"""Training on labelled parts of an image larger than memory: they alone are read, and look as the whole does."""

import json

import numpy as np
import pytest
import tifffile

from bundle.data import datalist
from bundle.data.channels import Channels
from bundle.data.doctor.sheet import measure
from bundle.data.errors import ImageError
from bundle.data.fingerprint import fingerprint, image_fingerprints
from bundle.data.formats import spatial_shape
from bundle.data.loading import LoadSliced
from bundle.data.spacing import common_sides
from bundle.data.stores import lazy_image
from bundle.data.stores.window import open_whole
from bundle.data.windows import window_of
from bundle.data.windows import window_of
from bundle.large import WholeGrayd
from tests.data.test_stores import write_store
from transforms import Standardized

PARTS = ["[x=10,y=20,w=64,h=56]", "[x=90,y=7,w=50,h=70]", "[x=70,y=100,w=60,h=50]"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A slide of discs, three parts of which have labels."""
    folder = tmp_path_factory.mktemp("windows")
    (folder / "image").mkdir()
    (folder / "label").mkdir()
    y, x = np.mgrid[:160, :150]
    cells = np.zeros((160, 150), np.uint16)
    for number, (cy, cx) in enumerate(np.random.default_rng(0).integers(5, 145, (60, 2)), 1):
        cells[np.hypot(y - cy, x - cx) < 5] = number
    pixels = (np.random.default_rng(1).normal(1000, 60, cells.shape) + 800 * (cells > 0) + 3 * y).astype(np.uint16)
    pixels[159, 149] = 60000
    write_store(folder / "image" / "slide.zarr", [pixels], "yx", um=(0.5,))
    for part in PARTS:
        window = window_of(f"slide {part}")
        rows, columns = slice(window.y, window.y + window.height), slice(window.x, window.x + window.width)
        tifffile.imwrite(folder / "label" / f"slide {part}.tif", cells[rows, columns])
    return folder, pixels


def test_parts_are_items_and_read_alone(data, tmp_path):
    folder, pixels = data
    items = datalist(folder)
    assert sorted(item["name"] for item in items) == sorted(f"slide {part}" for part in PARTS)
    for item in items:
        window = window_of(item["image"])
        assert spatial_shape(item["image"]) == (window.width, window.height)
        image = LoadSliced(("image", "label"))(item)["image"].numpy()[0]
        expected = pixels[window.y : window.y + window.height, window.x : window.x + window.width].T
        np.testing.assert_array_equal(image, expected.astype(np.float32))
    assert len(set(image_fingerprints(items).values())) == 3
    far = folder / "image" / "slide.zarr" / "0" / "c" / "0" / "0"  # of no part
    before = fingerprint(items)
    far.rename(tmp_path / "away")
    assert fingerprint(items) == before
    (tmp_path / "away").rename(far)


@pytest.mark.parametrize("robust", [False, True])
def test_a_part_looks_as_in_the_whole_image(data, robust):
    folder, pixels = data
    whole = Standardized("image", robust=robust)({"image": pixels.T[None].astype(np.float32)})["image"].numpy()
    gray = WholeGrayd("image", Channels("all", 1), robust=robust)
    for item in datalist(folder):
        window = window_of(item["image"])
        found = Standardized("image", robust=robust)(gray(LoadSliced(("image", "label"))(item)))["image"]
        expected = whole[:, window.x : window.x + window.width, window.y : window.y + window.height]
        assert found.numpy().tobytes() == np.ascontiguousarray(expected).tobytes()
        assert "whole_gray" not in found.meta  # MONAI's batches would not know what to do with it


def test_a_tiled_tiff_and_a_label_of_all_of_a_store(data, tmp_path):
    _, pixels = data
    for name in ("image", "label"):
        (tmp_path / name).mkdir()
    tifffile.imwrite(tmp_path / "image" / "a.tif", pixels, tile=(32, 32), compression="zlib")
    write_store(tmp_path / "image" / "b.ome.zarr", [pixels], "yx")
    tifffile.imwrite(tmp_path / "label" / "a [x=0,y=3,w=150,h=9].tif", np.ones((9, 150), np.uint8))
    tifffile.imwrite(tmp_path / "label" / "b.tif", np.ones(pixels.shape, np.uint8))
    images = {item["name"]: LoadSliced("image")(item)["image"].numpy()[0].T for item in datalist(tmp_path)}
    np.testing.assert_array_equal(images["a [x=0,y=3,w=150,h=9]"], pixels[3:12])
    np.testing.assert_array_equal(images["b"], pixels)


def test_the_size_of_a_pixel_where_all_state_the_same(data, tmp_path):
    folder, pixels = data
    items = datalist(folder)
    assert common_sides(items) == [0.5, 0.5]
    assert measure(items[0], LoadSliced(("image", "label"))).pixel_um == (0.5, 0.5), "checking prints it"
    others = {}
    for name, um in {"alike": 0.51, "other": 0.25, "unknown": None}.items():
        options = {} if um is None else {"metadata": {"PhysicalSizeX": um, "PhysicalSizeY": um}, "ome": True}
        others[name] = {"image": str(tmp_path / f"{name}.tif")}
        tifffile.imwrite(others[name]["image"], pixels, **options)
    assert common_sides([*items, others["alike"]]) == [0.5, 0.5]
    assert common_sides([*items, others["other"]]) is None
    assert common_sides([others["unknown"], *items]) is None
    assert common_sides([]) is None


@pytest.mark.parametrize("name", ["a.tif [d=1.2.3,x=0,y=0,w=20,h=20]", "a.tif [d=.,x=0,y=0,w=20,h=20]", "a.tif [b]"])
def test_other_words_in_brackets_are_part_of_a_name(name):
    assert window_of(name) is None


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("[x=140,y=0,w=20,h=20]", "reaches beyond the image of 150 x 160 px"),
        ("[d=4,x=0,y=0,w=20,h=20]", "it is exported at downsample 4: export image and label at 1"),
        ("[x=0,y=0,w=0,h=20]", "its width and height must be at least 1 px"),
    ],
)
def test_parts_that_cannot_be(data, part, message):
    folder, _ = data
    with pytest.raises(ImageError, match=message):
        LoadSliced("image")({"image": f"{folder}/image/slide.zarr {part}"})


def test_a_stack_has_no_parts(tmp_path):
    store = write_store(tmp_path / "a.zarr", [np.zeros((4, 20, 20), np.uint8)], "zyx")
    with pytest.raises(ImageError, match="it is a stack of 4 slices"):
        LoadSliced("image")({"image": f"{store} [x=0,y=0,w=20,h=20]"})


def test_a_training_reads_no_more_than_a_part_at_a_time(data, tmp_path, monkeypatch, workflow):
    folder, _ = data
    monkeypatch.setattr(lazy_image, "_REGION", 40)
    read, real = [], lazy_image.LazyImage.read

    def spy(self, spans):
        read.append(int(np.prod([stop - start for start, stop in spans])))
        return real(self, spans)

    monkeypatch.setattr(lazy_image.LazyImage, "read", spy)
    open_whole.cache_clear()
    workflow(
        dataset_dir=str(folder), run_name="a", max_epochs=1, samples_per_epoch=2, validation=[f"slide {PARTS[2]}"]
    ).run()
    assert max(read) <= 64 * 56  # the largest part
    card = json.loads((tmp_path / "runs" / "a" / "card.json").read_text())
    assert f"slide {PARTS[0]}" in json.dumps(card)
    assert card["image"]["spacing"] == [0.5, 0.5]  # by which the level of a pyramid is chosen

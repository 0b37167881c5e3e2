"""Images that are read part by part, against the same images read whole."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from bundle.data.errors import ImageError, UnreadableImageError
from bundle.data.load_slice import LoadSlice
from bundle.data.stores import is_store, open_lazily, store_name, stores_in
from bundle.data.stores.streams import slices_in_order

RANDOM = np.random.default_rng(0)
RGB = RANDOM.integers(0, 255, (60, 77, 3), np.uint8)
STACK = RANDOM.integers(0, 60000, (4, 60, 77), np.uint16)


def write_store(path, levels, axes, version="0.5", units=True, um=(0.5,), channels=None, **options) -> Path:
    """An OME-Zarr as other programs write it."""
    group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
    datasets = []
    for number, array in enumerate(levels):
        options = {"chunks": tuple(min(20, n) for n in array.shape), "config": {"write_empty_chunks": True}} | options
        stored = group.create_array(str(number), shape=array.shape, dtype=array.dtype, **options)
        stored[:] = array
        scale = [um[0] * 2**number if axis in "yx" else 3.0 if axis == "z" else 1.0 for axis in axes]
        datasets.append({"path": str(number), "coordinateTransformations": [{"type": "scale", "scale": scale}]})
    kinds = {"c": "channel", "t": "time"}
    described = [{"name": axis, "type": kinds.get(axis, "space")} for axis in axes]
    for axis in described:
        if units and axis["type"] == "space":
            axis["unit"] = "micrometer"
    content = {"multiscales": [{"axes": described, "datasets": datasets}]}
    if channels:
        content["omero"] = {"channels": [{"label": name} for name in channels]}
    group.attrs.update(content if version == "0.4" else {"ome": {"version": version, **content}})
    return Path(path)


def require_same(image, whole):
    assert image.size == whole.shape[1:]
    everything = [(0, n) for n in image.size]
    np.testing.assert_array_equal(image.read(everything), whole)
    part = [(n // 3, n // 3 + max(1, n // 4)) for n in image.size]
    np.testing.assert_array_equal(image.read(part), whole[(slice(None), *(slice(*span) for span in part))])
    seen = np.zeros(image.size, int)
    for spans in image.regions():
        seen[tuple(slice(*span) for span in spans)] += 1
    assert (seen == 1).all()


@pytest.mark.parametrize(
    "options",
    [
        {"tile": (16, 32), "compression": "zlib"},
        {"rowsperstrip": 7, "compression": "lzw", "predictor": True},
        {},
        {"byteorder": ">"},
        {"bigtiff": True, "tile": (32, 32)},
    ],
)
@pytest.mark.parametrize(
    ("pixels", "kind"),
    [
        (RGB, {"photometric": "rgb"}),
        (np.concatenate([RGB, RGB[..., :1]], axis=2), {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
        (STACK, {"photometric": "minisblack"}),
        (STACK[0].astype(np.float32) / 7, {}),
        (RGB[..., 0], {"photometric": "miniswhite"}),
        (STACK[:, None].repeat(2, 1), {"imagej": True, "metadata": {"axes": "ZCYX"}}),
    ],
)
def test_tiff(tmp_path, pixels, kind, options):
    if kind.get("imagej"):  # it stores neither tiles nor compressed pixels
        options = {name: value for name, value in options.items() if name == "byteorder"}
    if options.get("predictor") and pixels.dtype == np.float32:
        options["predictor"] = False
    tifffile.imwrite(tmp_path / "a.tif", pixels, **options, **kind)
    image = open_lazily(tmp_path / "a.tif")
    require_same(image, LoadSlice(spatial_dims=None)(str(tmp_path / "a.tif")).numpy())


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr(tmp_path, version):
    colours = RGB.transpose(2, 0, 1)
    store = write_store(tmp_path / "a.ome.zarr", [colours], "cyx", version, channels=["Red", "Green", "Blue"])
    image = open_lazily(store)
    assert image.stated.names == ("red", "green", "blue")
    assert image.spacing == (0.5, 0.5)
    require_same(image, colours.transpose(0, 2, 1).astype(np.float32))

    five = STACK[None, None]
    store = write_store(tmp_path / "b.zarr", [five], "tczyx", version, units=False)
    image = open_lazily(store)
    assert (image.slice_axis, image.spacing) == ("z", None)
    require_same(image, STACK.transpose(2, 1, 0)[None].astype(np.float32))

    assert [store_name(each) for each in stores_in(tmp_path)] == ["a", "b"]
    assert stores_in(store) == [store]
    assert not is_store(tmp_path)


def test_shards_and_series_of_bioformats(tmp_path):
    outer = zarr.open_group(tmp_path / "slide.zarr", mode="w")
    outer.attrs["ome"] = {"version": "0.5", "bioformats2raw.layout": 3}
    write_store(tmp_path / "slide.zarr" / "0", [STACK[0]], "yx", chunks=(10, 11), shards=(20, 33))
    require_same(open_lazily(tmp_path / "slide.zarr"), STACK[0].T[None].astype(np.float32))
    write_store(tmp_path / "slide.zarr" / "1", [STACK[0]], "yx")
    with pytest.raises(ImageError, match=r"it holds 2 images \(0, 1\): give one of them, such as .*slide.zarr/0"):
        open_lazily(tmp_path / "slide.zarr")


def test_a_level_by_number_or_by_the_size_of_its_pixels(tmp_path, caplog):
    caplog.set_level("INFO")
    levels = [STACK[0], STACK[0][::2, ::2], STACK[0][::4, ::4]]
    store = write_store(tmp_path / "a.zarr", levels, "yx")
    assert open_lazily(store).size == (77, 60)
    assert open_lazily(store, level=2).size == open_lazily(store, pixel_size=1.9).size == (20, 15)
    assert caplog.messages[0].endswith(
        "77 x 60 px of 0.5 µm, the largest, for the size of a pixel of the training is not known"
    )
    assert caplog.messages[2].endswith("px of 2 µm, as asked")
    assert open_lazily(store, trained=(1.05, 1.05)).size == (39, 30)
    assert caplog.messages[3].endswith(": level 1 of 3, 39 x 30 px of 1 µm, like the 1.05 µm of the training")
    assert open_lazily(store, trained=(7, 7)).size == (77, 60)
    assert "none has the 7 µm of the training" in caplog.messages[4]
    assert open_lazily(store, level=1).spacing == (1.0, 1.0)
    with pytest.raises(ImageError, match=r"no level 3: its levels are 0: 77 x 60 px of 0.5 µm; 1: 39 x 30 px of 1 µm"):
        open_lazily(store, level=3)
    with pytest.raises(ImageError, match=r"no level of 0.7 µm: its levels are 0: .* choose one by --level"):
        open_lazily(store, pixel_size=0.7)
    with pytest.raises(ValueError, match=r"give one of them, got 1 and 0\.5"):
        open_lazily(store, level=1, pixel_size=0.5)
    with pytest.raises(ValueError, match="number of µm above 0, got '1'"):
        open_lazily(store, pixel_size="1")


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_levels_of_a_tiff(tmp_path, compression):
    levels = [STACK[0], STACK[0][::2, ::2]]
    with tifffile.TiffWriter(tmp_path / "p.ome.tif") as file:
        about = {"axes": "YX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}
        file.write(levels[0], subifds=1, tile=(16, 16), metadata=about, compression=compression)
        file.write(levels[1], subfiletype=1, tile=(16, 16), compression=compression)
    for choice, pixels, um in (({}, levels[0], 0.25), ({"pixel_size": 0.5}, levels[1], 0.25 * 77 / 39)):
        image = open_lazily(tmp_path / "p.ome.tif", **choice)
        assert image.spacing == pytest.approx((um, um))
        require_same(image, pixels.T[None].astype(np.float32))


@pytest.mark.parametrize("shards", [None, (40, 40)])
@pytest.mark.parametrize("value", [0, 7])
def test_a_missing_chunk_is_an_error_unless_its_value_is_declared_and_asked_for(tmp_path, shards, value):
    """Zarr itself gives the fill value, and says nothing."""
    full = STACK[0].copy()
    full[20:40, 20:40] = value
    options = {"fill_value": value, "config": {"write_empty_chunks": False}}
    store = write_store(tmp_path / "a.zarr", [full], "yx", chunks=(20, 20), shards=shards, **options)
    image = open_lazily(store)
    image.read(((0, 15), (0, 15)))
    with pytest.raises(UnreadableImageError, match=rf"missing; if .* all its pixels are {value}: --missing fill"):
        image.read(((0, 50), (10, 30)))
    whole = open_lazily(store, missing="fill").read(((0, 77), (0, 60)))
    np.testing.assert_array_equal(whole[0].T, full)
    with pytest.raises(ValueError, match="missing must be error or fill, got 'zeros'"):
        open_lazily(store, missing="zeros")


def test_a_missing_chunk_without_a_value_is_always_an_error(tmp_path):
    store = write_store(tmp_path / "a.zarr", [STACK[0]], "yx", "0.4", fill_value=None)
    (store / "0" / "1.1").unlink()
    with pytest.raises(UnreadableImageError, match=r"0/1.1 is missing, and no value is declared for it"):
        open_lazily(store, missing="fill").read(((0, 77), (0, 60)))


def damaged(change):
    def make(folder):
        store = write_store(folder / "a.zarr", [STACK[0]], "yx")
        change(store)
        return store

    return make


def attributes(store, change):
    content = json.loads((store / "zarr.json").read_text())
    change(content["attributes"]["ome"]["multiscales"][0])
    (store / "zarr.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (damaged(lambda store: (store / "zarr.json").write_text("{")), "cannot be read as OME-Zarr"),
        (damaged(lambda store: (store / "zarr.json").write_text('{"attributes": {}}')), "no OME-Zarr image"),
        (damaged(lambda store: shutil.rmtree(store / "0")), "cannot be read as OME-Zarr"),
        (damaged(lambda s: attributes(s, lambda m: m.update(axes=[{"name": "x"}]))), "2 axes, its description X"),
        (damaged(lambda s: attributes(s, lambda m: m.update(axes=["q", "x"]))), "its axes are q, x"),
        (damaged(lambda store: (store / "0" / "c" / "0" / "0").write_bytes(b"nonsense")), "0/c/0/0 cannot be read"),
        (lambda folder: write_store(folder / "a.zarr", [np.full((9, 9), np.nan)], "yx"), "NaN or infinite in its part"),
        (lambda folder: write_store(folder / "a.zarr", [np.ones((9, 9), complex)], "yx"), "complex128"),
        (lambda folder: write_store(folder / "a.zarr", [np.ones((2, 2, 9, 9))], "tzyx"), "several axes besides x, y"),
    ],
)
def test_what_cannot_be_used_says_why(tmp_path, make, message):
    def read(path):
        image = open_lazily(path)
        image.read([(0, n) for n in image.size])

    path = make(tmp_path)
    with pytest.raises(ImageError, match=message):
        read(path)


def test_formats_without_parts_are_refused(tmp_path, monkeypatch):
    (tmp_path / "a.nii.gz").write_bytes(b"x")
    with pytest.raises(ImageError, match="only OME-Zarr and TIFF can be read part by part"):
        open_lazily(tmp_path / "a.nii.gz")
    from bundle.data.stores import tiff

    monkeypatch.setattr(tiff, "_LARGEST_PART", 100)
    tifffile.imwrite(tmp_path / "a.tif", STACK[0], compression="zlib", rowsperstrip=60)
    with pytest.raises(ImageError, match=r"compressed in parts of 0 MiB.* tiled TIFF or as OME-Zarr"):
        open_lazily(tmp_path / "a.tif").read(((0, 1), (0, 1)))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("BinaryData = False", "its pixels are written as text"),
        ("HeaderSize = -1", "HeaderSize must be at least 0, got -1"),
    ],
)
def test_a_meta_image_whose_pixels_lie_otherwise_is_refused(tmp_path, line, message):
    head = f"NDims = 2\n{line}\nDimSize = 3 2\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    (tmp_path / "a.mha").write_text(f"{head}1 2 3 4 5 6\n")
    with pytest.raises(ImageError, match=message):
        slices_in_order(tmp_path / "a.mha")


def test_the_pixels_of_a_meta_image_may_lie_in_a_file_of_any_name(tmp_path):
    (tmp_path / "zellkörper.raw").write_bytes(bytes(range(6)))
    head = "NDims = 2\nDimSize = 3 2\nElementType = MET_UCHAR\nElementDataFile = zellkörper.raw\n"
    (tmp_path / "a.mhd").write_text(head, encoding="utf-8")
    (pixels,) = slices_in_order(tmp_path / "a.mhd").parts(1)
    np.testing.assert_array_equal(pixels[0, 0], [[0, 1, 2], [3, 4, 5]])

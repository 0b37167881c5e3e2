"""Channels: what files say of them, which of them are taken, and what is refused by which sentence."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import itk
import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image

from bundle.data import channels as module
from bundle.data.channel_names import COLOURS, StatedChannels
from bundle.data.channels import CHANNEL_NAMES, Channels, channels_of
from bundle.data.errors import ImageError
from bundle.data.load_slice import LoadSlice
from bundle.data.stated_channels import stated_channels

NAMES = ("DAPI", "GFP", "Cy5")


def encoded(channels: int, slices: int = 1, dtype: str = "uint16") -> np.ndarray:
    """(channels, slices, 12, 20): every pixel says its channel, slice, row and column."""
    c, z, y, x = np.indices((channels, slices, 12, 20))
    return (5000 * c + 1000 * z + 40 * y + x).astype(dtype)


def ome(path: Path, pixels: np.ndarray, names=None) -> None:
    metadata = {"axes": "CZYX", **({"Channel": {"Name": list(names)}} if names else {})}
    tifffile.imwrite(path, pixels, ome=True, photometric="minisblack", metadata=metadata)


def imagej(path: Path, pixels: np.ndarray, names=None) -> None:
    labels = {"Labels": list(names) * pixels.shape[1]} if names else {}
    tifffile.imwrite(path, pixels.swapaxes(0, 1), imagej=True, metadata={"axes": "ZCYX", **labels})


def planar(path: Path, pixels: np.ndarray, names=None) -> None:
    tifffile.imwrite(path, np.moveaxis(pixels, 0, -1), photometric="minisblack", planarconfig="contig")


def nifti(path: Path, pixels: np.ndarray, names=None) -> None:
    nibabel.save(nibabel.Nifti1Image(pixels.transpose(3, 2, 1, 0), np.diag([2.0, 3, 4, 1])), path)


def nifti_vector(path: Path, pixels: np.ndarray, names=None) -> None:
    nibabel.save(nibabel.Nifti1Image(pixels.transpose(3, 2, 1, 0)[:, :, :, None], np.eye(4)), path)


def meta_image(path: Path, pixels: np.ndarray, names=None) -> None:
    """As ITK's readers in other languages write it; Python's ITK cannot make all of these types."""
    kinds = {"uint8": "UCHAR", "uint16": "USHORT", "int16": "SHORT", "float32": "FLOAT", "float64": "DOUBLE"}
    pixels = pixels[:, 0] if pixels.shape[1] == 1 else pixels
    header = {
        "ObjectType": "Image",
        "NDims": pixels.ndim - 1,
        "BinaryData": True,
        "DimSize": " ".join(map(str, pixels.shape[:0:-1])),
        "ElementSpacing": " ".join(["0.5"] * (pixels.ndim - 1)),
        "ElementNumberOfChannels": len(pixels),
        "ElementType": f"MET_{kinds[str(pixels.dtype)]}",
        "ElementDataFile": "LOCAL",
    }
    text = "".join(f"{name} = {value}\n" for name, value in header.items())
    path.write_bytes(text.encode() + np.ascontiguousarray(np.moveaxis(pixels, 0, -1)).tobytes())


WRITERS = {
    "ome.tif": ome,
    "ij.tif": imagej,
    "planar.tif": planar,
    "a.nii.gz": nifti,
    "v.nii.gz": nifti_vector,
    "a.mha": meta_image,
}


@pytest.mark.parametrize("slices", [1, 3])
@pytest.mark.parametrize("channels", [2, 3, 5])
@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_its_channels_in_their_order(tmp_path, name, channels, slices):
    pixels, path = encoded(channels, slices, "float32" if name == "a.mha" else "uint16"), tmp_path / name
    WRITERS[name](path, pixels)
    assert stated_channels(path).count == channels
    expected = pixels.transpose(0, 3, 2, 1)  # (C, x, y, slices)
    whole = LoadSlice(spatial_dims=3 if slices > 1 else 2)(str(path))
    np.testing.assert_array_equal(whole.numpy(), expected if slices > 1 else expected[..., 0])
    for number in range(slices if slices > 1 else 0):
        np.testing.assert_array_equal(LoadSlice()(str(path), number).numpy(), expected[..., number])
    chosen = LoadSlice(channels=[1, 0, 1], spatial_dims=3 if slices > 1 else 2)(str(path))
    np.testing.assert_array_equal(chosen.numpy(), whole.numpy()[[1, 0, 1]])


def test_pixels_are_those_that_the_libraries_read(tmp_path):
    for name, write in WRITERS.items():
        write(tmp_path / name, encoded(2, 3, "float32"))
    ours = {name: LoadSlice(spatial_dims=3)(str(tmp_path / name)).numpy() for name in WRITERS}
    np.testing.assert_array_equal(ours["ome.tif"], tifffile.imread(tmp_path / "ome.tif").transpose(0, 3, 2, 1))
    np.testing.assert_array_equal(ours["ij.tif"], tifffile.imread(tmp_path / "ij.tif").transpose(1, 3, 2, 0))
    np.testing.assert_array_equal(ours["a.nii.gz"], np.moveaxis(nibabel.load(tmp_path / "a.nii.gz").get_fdata(), -1, 0))
    volume = itk.array_from_image(itk.imread(str(tmp_path / "a.mha")))  # (slices, y, x, C)
    np.testing.assert_array_equal(ours["a.mha"], volume.transpose(3, 2, 1, 0))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
@pytest.mark.parametrize("channels", [2, 3, 6])
def test_meta_images_of_every_type(tmp_path, dtype, channels):
    pixels = (encoded(channels) % 251).astype(dtype)
    meta_image(tmp_path / "a.mha", pixels)
    loaded = LoadSlice()(str(tmp_path / "a.mha"))
    np.testing.assert_array_equal(loaded.numpy(), pixels[:, 0].transpose(0, 2, 1))
    np.testing.assert_allclose(np.abs(np.diag(loaded.affine)[:2]), 0.5)


@pytest.mark.parametrize("write", [ome, imagej])
def test_names_are_told_and_follow_the_choice(tmp_path, write):
    path = tmp_path / "a.tif"
    write(path, encoded(3), NAMES)
    assert stated_channels(path) == StatedChannels(3, NAMES)
    assert LoadSlice()(str(path)).meta[CHANNEL_NAMES] == list(NAMES)
    assert LoadSlice(channels=[2, 0])(str(path)).meta[CHANNEL_NAMES] == ["Cy5", "DAPI"]
    write(path, encoded(3), ("DAPI", "", "Cy5"))  # not each has one
    assert stated_channels(path).names is None
    assert CHANNEL_NAMES not in LoadSlice()(str(path)).meta


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.tif"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_colours_are_red_green_and_blue_without_opacity(tmp_path, name, mode):
    if (name, mode) == ("a.jpg", "RGBA"):
        pytest.skip("JPEG has no opacity")
    Image.fromarray(np.moveaxis(encoded(3)[:, 0] % 250, 0, -1).astype(np.uint8)).convert(mode).save(tmp_path / name)
    assert stated_channels(tmp_path / name) == StatedChannels(3, COLOURS)
    assert LoadSlice()(str(tmp_path / name)).meta[CHANNEL_NAMES] == list(COLOURS)


def test_gray_files_have_one_channel(tmp_path):
    Image.fromarray(encoded(1)[0, 0].astype(np.uint8)).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "stack.tif", encoded(1, 3)[0], photometric="minisblack")
    nibabel.save(nibabel.Nifti1Image(encoded(1, 3)[0], np.eye(4)), tmp_path / "a.nii")
    for name in ("a.png", "stack.tif", "a.nii"):
        assert stated_channels(tmp_path / name) == StatedChannels(1)


def test_time_points_are_not_guessed(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros((6, 5, 1, 2, 3), np.int16), np.eye(4)), tmp_path / "a.nii.gz")
    with pytest.raises(ImageError, match=r"it has 5 axes, \(3, 6, 5, 1, 2\) .*: save each time point by itself"):
        LoadSlice()(str(tmp_path / "a.nii.gz"))


@pytest.mark.parametrize(
    ("names", "expected", "told"),
    [
        (NAMES, Channels(count=2, names=NAMES[:2]), '(DAPI, GFP, Cy5), the network expects 2 (DAPI, GFP): '),
        (NAMES, Channels(count=2, names=("CY5", "dapi")), 'expects 2 (CY5, dapi): add --channels "[2, 0]"'),
        (None, Channels(count=2, whose="a.pt"), '3 channels, a.pt expects 2: choose by --channels "[0, 1]", say'),
        (None, Channels(count=1), "3 channels, the network expects 1: add --channels luminance, or --channels"),
        (NAMES, Channels(count=4), "the network expects 4: it needs images with all of them"),
        (NAMES, Channels([0], count=3), '1 channel (DAPI), the network expects 3: choose by --channels "[0, 1, 2]"'),
        (NAMES, Channels(names=("GFP", "DAPI", "Cy5")), 'expects GFP, DAPI, Cy5: add --channels "[1, 0, 2]"'),
        (NAMES, Channels(names=("a", "b", "c")), 'DAPI, GFP, Cy5, the network expects a, b, c: choose by --chan'),
        (NAMES, Channels([3]), "no channel 3 of --channels [3]: its channels are 0 to 2 (DAPI, GFP, Cy5)"),
    ],
)  # fmt: skip
def test_a_mismatch_names_numbers_names_and_the_option(tmp_path, names, expected, told):
    ome(tmp_path / "a.tif", encoded(3), names)
    with pytest.raises(ImageError, match=re.escape(told)):
        LoadSlice(channels=expected)(str(tmp_path / "a.tif"))


def test_what_the_messages_suggest_works(tmp_path):
    ome(tmp_path / "a.tif", encoded(3), NAMES)
    tifffile.imwrite(tmp_path / "gray.tif", encoded(1)[0, 0])
    chosen = LoadSlice(channels=Channels([2, 0], 2, ("Cy5", "DAPI")))(str(tmp_path / "a.tif"))
    np.testing.assert_array_equal(chosen.numpy(), encoded(3)[[2, 0], 0].transpose(0, 2, 1))
    with pytest.raises(
        ImageError, match=r'1 channel, the network expects 3: --channels "\[0, 0, 0\]" gives it 3 times'
    ):
        LoadSlice(channels=Channels(count=3))(str(tmp_path / "gray.tif"))
    assert LoadSlice(channels=Channels([0, 0, 0], 3))(str(tmp_path / "gray.tif")).shape == (3, 20, 12)


def pictures(folder: Path, **arrays: np.ndarray) -> list[dict[str, str]]:
    folder.mkdir(exist_ok=True)
    for name, array in arrays.items():
        Image.fromarray(array).save(folder / f"{name}.png")
    return [{"image": str(folder / f"{name}.png"), "name": name} for name in arrays]


GRAY = encoded(1)[0, 0].astype(np.uint8)
EQUAL = np.stack([GRAY] * 3, axis=-1)
COLOUR = np.stack([GRAY, GRAY // 2, GRAY // 3], axis=-1)


@pytest.fixture
def unsaid(monkeypatch):
    monkeypatch.setattr(module, "_SAID", set())


def test_gray_in_colour_files_counts_as_one_channel_and_is_said_once(tmp_path, caplog, unsaid):
    with caplog.at_level(logging.INFO):
        items = pictures(tmp_path, a=EQUAL, b=np.dstack([EQUAL, np.full_like(GRAY, 255)]), c=GRAY)
        found = channels_of(items)
        assert (found.count, found.names) == (1, None)
        for item in items:
            np.testing.assert_array_equal(LoadSlice(channels=found)(item["image"]).numpy(), GRAY.T[None])
    assert caplog.text.count("red = green = blue") == 1


def test_the_number_follows_the_data(tmp_path):
    found = channels_of(pictures(tmp_path, a=EQUAL, b=COLOUR))
    assert (found.count, found.names) == (3, COLOURS)
    assert channels_of(pictures(tmp_path, a=COLOUR, b=GRAY), "luminance").count == 1
    assert channels_of(pictures(tmp_path, a=COLOUR, b=EQUAL), [2, 0]) == Channels([2, 0], 2, ("blue", "red"))
    assert channels_of([], "all").count is None


def test_the_odd_image_is_named(tmp_path):
    with pytest.raises(
        ImageError, match=r"b\.png: it has 3 channels \(red, .*\), 2 other images have 1, .*--channels lum"
    ):
        channels_of(pictures(tmp_path, a=GRAY, b=COLOUR, c=GRAY))
    with pytest.raises(ImageError, match=r"c\.png: it has 1 channel, 2 other images have 3, .*--channels luminance"):
        channels_of(pictures(tmp_path, a=COLOUR, b=COLOUR, c=GRAY))
    items = []
    for name, count in {"d": 3, "e": 2, "f": 3}.items():
        ome(tmp_path / f"{name}.tif", encoded(count), NAMES[:count])
        items.append({"image": str(tmp_path / f"{name}.tif")})
    with pytest.raises(
        ImageError, match=r'e\.tif: it has 2 channels \(DAPI, GFP\), 2 .* have 3, .*--channels "\[0, 1\]"'
    ):
        channels_of(items)
    assert channels_of(items, [0, 1]).names == ("DAPI", "GFP")


def test_an_image_with_its_channels_in_another_order_is_named(tmp_path):
    items = []
    for name, names in {"a": NAMES, "b": NAMES[::-1], "c": NAMES, "d": None}.items():
        ome(tmp_path / f"{name}.tif", encoded(3), names)
        items.append({"image": str(tmp_path / f"{name}.tif")})
    with pytest.raises(ImageError, match=r"b\.tif: its channels are Cy5, GFP, DAPI, those of 2 other images DAPI, GFP"):
        channels_of(items)
    assert channels_of(items, [0, 1, 2]) == Channels([0, 1, 2], 3)  # by their place
    assert channels_of(items[2:]).names == NAMES

"""Every format gives the same array in MONAI's order; what ITK reads, TiffReader reads alike."""

from __future__ import annotations

import warnings
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
from monai.data import ITKReader
from PIL import Image

from bundle.data.errors import ImageError, UnreadableImageError
from bundle.data.formats import extension, natural_key, spatial_shape, stem
from bundle.data.readers import TiffReader, read_image

F32 = np.dtype(np.float32)


def pixels(path: Path) -> np.ndarray:
    """(channels, x, y[, slices]) -> numpy's order of the spatial axes, channels last if there are several."""
    array = np.moveaxis(read_image(str(path), F32).numpy(), 0, -1)
    array = array.swapaxes(0, 1)
    return array[..., 0] if array.shape[-1] == 1 else array


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32", "int32", "float32"])
@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "packbits"])
@pytest.mark.parametrize("pages", [1, 3])
def test_tiff_as_itk_reads_it(tmp_path, position, dtype, compression, pages):
    path = tmp_path / "a.tif"
    array = np.stack([(position(page=page) % 250).astype(dtype) for page in range(pages)])
    tifffile.imwrite(
        path,
        array if pages > 1 else array[0],
        compression=compression,
        photometric="minisblack",
        resolution=(2, 4),
        resolutionunit="CENTIMETER",
    )
    ours, theirs = TiffReader(), ITKReader()
    (data, meta), (expected, expected_meta) = ours.get_data(ours.read(path)), theirs.get_data(theirs.read(path))
    np.testing.assert_array_equal(data, expected)
    for key in ("affine", "original_affine", "spatial_shape", "spacing"):
        np.testing.assert_allclose(meta[key], expected_meta[key])
    assert meta["space"] == expected_meta["space"]
    np.testing.assert_equal(meta["original_channel_dim"], expected_meta["original_channel_dim"])
    assert ours.verify_suffix([path])
    assert not ours.verify_suffix("a.png")


@pytest.mark.parametrize(
    ("dtype", "options"),
    [
        ("float16", {}),
        ("float64", {}),
        ("uint64", {}),
        ("int8", {}),
        ("uint8", {"tile": (16, 16)}),
        ("uint8", {"compression": "zstd"}),
        ("uint8", {"compression": "lzma"}),
        ("uint16", {"compression": "lzw", "predictor": True}),
        ("uint16", {"bigtiff": True}),
        ("uint16", {"byteorder": ">"}),
    ],
)
def test_tiffs_that_itk_refuses_or_misreads(tmp_path, position, dtype, options):
    array = (position() % 120).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", **options)
    np.testing.assert_array_equal(pixels(tmp_path / "a.tif"), array.astype(np.float32))


@pytest.mark.parametrize("compression", [None, "group4"])
def test_one_bit_tiff(tmp_path, position, compression):
    array = position() % 3 == 0
    Image.fromarray(array).save(tmp_path / "a.tif", compression=compression)
    np.testing.assert_array_equal(pixels(tmp_path / "a.tif"), array)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.tiff", "a.mha", "a.mhd", "a.nii", "a.nii.gz", "a.TIF"])
def test_every_format_gives_x_y(tmp_path, position, name):
    array = (position() % 251).astype(np.uint8)
    path = tmp_path / name
    if name.startswith("a.m"):
        import itk

        itk.imwrite(itk.image_from_array(array), str(path))
    elif ".nii" in name:
        nibabel.save(nibabel.Nifti1Image(array.T, np.eye(4)), path)
    else:
        Image.fromarray(array).save(path)
    image = read_image(str(path), F32)
    assert image.dtype.is_floating_point
    assert spatial_shape(path) == (20, 12)
    # a grayscale BMP comes as three equal channels
    np.testing.assert_array_equal(image[0].numpy(), array.T)
    assert image.meta["filename_or_obj"] == str(path)


@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
def test_colour_tiff(tmp_path, position, planarconfig):
    colours = np.stack([position() % 7, position() % 11, position() % 13], -1).astype(np.uint8)
    data = colours if planarconfig == "contig" else np.moveaxis(colours, -1, 0)
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="rgb", planarconfig=planarconfig)
    np.testing.assert_array_equal(pixels(tmp_path / "a.tif"), colours)


def test_opacity_is_no_channel(tmp_path, position):
    gray = (position() % 250).astype(np.uint8)
    two = np.stack([gray, np.full_like(gray, 255)], -1)
    tifffile.imwrite(
        tmp_path / "a.tif", two, photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"]
    )
    np.testing.assert_array_equal(pixels(tmp_path / "a.tif"), gray)


def test_channels_of_imagej_are_channels_and_its_slices_are_slices(tmp_path, position):
    array = np.stack([position(page=page) for page in range(4)])
    tifffile.imwrite(tmp_path / "c.tif", array, imagej=True, metadata={"axes": "CYX"})
    tifffile.imwrite(tmp_path / "z.tif", array, imagej=True, metadata={"axes": "ZYX"})
    assert read_image(str(tmp_path / "c.tif"), F32).shape == (4, 20, 12)
    assert read_image(str(tmp_path / "z.tif"), F32).shape == (1, 20, 12, 4)
    assert (spatial_shape(tmp_path / "c.tif"), spatial_shape(tmp_path / "z.tif")) == ((20, 12), (20, 12, 4))


def test_reader_takes_one_file(tmp_path):
    with pytest.raises(ValueError, match="one file at a time, got 2"):
        TiffReader().read(["a.tif", "b.tif"])


def truncate(path: Path, keep: float) -> Path:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    return path


@pytest.mark.parametrize("keep", [0.05, 0.3, 0.6, 0.95])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("writer", ["tifffile", "plain", "imagej", "pillow", "bigtiff"])
def test_truncated_stacks_are_never_read_in_part(tmp_path, keep, compression, writer):
    random = np.random.RandomState(0)
    array = random.randint(0, 255, (4, 40, 60), dtype=np.uint8)
    path = tmp_path / "a.tif"
    if writer == "pillow":
        first, *rest = (Image.fromarray(page) for page in array)
        first.save(path, save_all=True, append_images=rest, compression=None if compression is None else "tiff_lzw")
    else:
        options = {"plain": {"metadata": None}, "imagej": {"imagej": True}, "bigtiff": {"bigtiff": True}}
        extra = options.get(writer, {})
        if writer != "imagej":
            extra = {**extra, "compression": compression, "photometric": "minisblack"}
        tifffile.imwrite(path, array, **extra)
    read_image(str(path), F32)
    truncate(path, keep)
    with pytest.raises(UnreadableImageError, match=r"a\.tif: it (is truncated|cannot be read)"):
        read_image(str(path), F32)


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.nii.gz", "a.mha"])
def test_empty_missing_foreign(tmp_path, name):
    path = tmp_path / name
    for content, reason in ((None, "does not exist"), (b"", r"is empty \(0 bytes\)"), (b"hello", "it")):
        if content is not None:
            path.write_bytes(content)
        for read in (lambda: read_image(str(path), F32), lambda: spatial_shape(path)):
            with pytest.raises(UnreadableImageError, match=reason) as caught:
                read()
            assert caught.value.path == str(path)
            assert str(path) in str(caught.value)
    with pytest.raises(UnreadableImageError, match="is not a file"):
        read_image(str(tmp_path), F32)


def test_what_itk_misreads_without_an_error_is_refused(tmp_path, position):
    gray = (position() % 250).astype(np.uint8)
    Image.fromarray(np.stack([gray, gray], -1), "LA").save(tmp_path / "a.png")
    with pytest.raises(ImageError, match=r"a\.png: it is a gray PNG with an opacity"):
        read_image(str(tmp_path / "a.png"), F32)


def test_a_file_that_may_not_be_read(tmp_path, position, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    Image.fromarray((position() % 250).astype(np.uint8)).save(tmp_path / "a.png")
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(UnreadableImageError, match=r"a\.png: it cannot be read .*Permission denied"):
        read_image(str(tmp_path / "a.png"), F32)


def test_unknown_extension(tmp_path):
    (tmp_path / "a.czi").write_text("x")
    with pytest.raises(UnreadableImageError, match=r"its extension is none of \.tif"):
        read_image(str(tmp_path / "a.czi"), F32)


def test_pages_of_different_sizes(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(np.zeros((10, 12), np.uint8))
        file.write(np.zeros((8, 12), np.uint8))
    for read in (lambda: read_image(str(tmp_path / "a.tif"), F32), lambda: spatial_shape(tmp_path / "a.tif")):
        with pytest.raises(ImageError, match=r"pages differ in size or type \(\(10, 12\) uint8, \(8, 12\) uint8\)"):
            read()


@pytest.mark.parametrize("channels", [2, 4])
def test_channels_behind_rows_and_columns_are_no_columns(tmp_path, channels):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((40, 50, channels), np.uint16), photometric="minisblack")
    for read in (lambda: read_image(str(tmp_path / "a.tif"), F32), lambda: spatial_shape(tmp_path / "a.tif")):
        with pytest.raises(
            ImageError, match=rf"its 40 slices are {channels} x 50 px: if {channels} is the number of its"
        ):
            read()
    tifffile.imwrite(tmp_path / "line.tif", np.zeros((8, 50, channels), np.uint16), photometric="minisblack")
    assert spatial_shape(tmp_path / "line.tif") == (channels, 50, 8)


def test_a_kept_stack_is_decoded_once_and_again_after_a_change(stack, monkeypatch):
    from bundle.data import readers

    decoded = []
    original = readers._decode
    monkeypatch.setattr(readers, "_decode", lambda path, dtype: decoded.append(path) or original(path, dtype))
    for _ in range(5):
        first = read_image(str(stack), F32, keep=True)
    assert len(decoded) == 1
    tifffile.imwrite(stack, tifffile.imread(stack)[:2] + 1, photometric="minisblack")
    assert read_image(str(stack), F32, keep=True).shape == (1, 20, 12, 2) != first.shape
    assert len(decoded) == 2


@pytest.mark.parametrize(
    ("name", "kind", "base"),
    [
        ("a.b.TIF", ".tif", "a.b"),
        ("a.nii.gz", ".nii.gz", "a"),
        ("a.nii", ".nii", "a"),
        ("a.gz", None, "a.gz"),
        (".a.tif", None, ".a.tif"),
        ("folder.tif/a.png", ".png", "a"),
    ],
)
def test_names(name, kind, base):
    assert (extension(name), stem(name)) == (kind, base)


def test_natural_key():
    assert sorted(["a10", "a9", "b1", "a", "10", "9"], key=natural_key) == ["9", "10", "a", "a9", "a10", "b1"]


def test_nothing_is_warned_about(stack):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_image(str(stack), F32)


def test_a_file_of_an_ome_series_is_its_own_pages(tmp_path):
    pages = np.random.RandomState(0).randint(1, 255, (3, 20, 30), np.uint8)
    uuids = [f"urn:uuid:00000000-0000-0000-0000-00000000000{i}" for i in range(3)]
    planes = "".join(
        f'<TiffData FirstT="{i}" IFD="0" PlaneCount="1"><UUID FileName="p{i}.ome.tif">{uuid}</UUID></TiffData>'
        for i, uuid in enumerate(uuids)
    )
    for page, uuid, i in zip(pages, uuids, range(3), strict=True):
        xml = (
            f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="{uuid}"><Image ID="Image:0"><Pixels '
            f'ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="30" SizeY="20" SizeZ="1" SizeC="1" SizeT="3">'
            f"{planes}</Pixels></Image></OME>"
        )
        tifffile.imwrite(tmp_path / f"p{i}.ome.tif", page, description=xml, metadata=None)
    assert tifffile.imread(tmp_path / "p0.ome.tif").shape == (3, 20, 30)  # what tifffile makes of it
    for i in range(3):
        assert spatial_shape(tmp_path / f"p{i}.ome.tif") == (30, 20)
        np.testing.assert_array_equal(read_image(str(tmp_path / f"p{i}.ome.tif"), np.dtype(np.float32))[0].T, pages[i])

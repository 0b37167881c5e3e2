"""Whatever an image file holds: an error of ours that names it, soon and in little memory, or its pixels."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import nibabel
import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundle.data.errors import ImageError, UnreadableImageError
from bundle.data.folder import pages
from bundle.data.formats import spatial_shape
from bundle.data.readers import read_image
from tests.data.hostile import F32, PLANE, STACK, answer, edited, edits, make_files, pillow, put, tiff, with_tag

HUGE, SECRET = 10**6, "/etc/hostname"
SOUND = ["zlib.tif", "tiles.tif", "big.tif", "jpeg.tif", "imagej.tif", "ome.tif", "fax.tif", "gray.png", "gray.jpg"]
SOUND += ["gray.bmp", "plane.nii", "stack.nii.gz", "plane.mha", "stack.mha", "apart.mhd"]
fixed = settings(
    derandomize=True, database=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return make_files(tmp_path_factory.mktemp("hostile") / "sound")


@fixed
@given(name=st.sampled_from(SOUND), changes=edits)
def test_a_damaged_file_is_refused_by_name_or_read(files, tmp_path, name, changes):
    answer(put(tmp_path / "d", files[name], edited(files[name].read_bytes(), changes)))


@fixed
@given(name=st.sampled_from(SOUND), share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_refused_or_its_pixels_are_all_there(files, tmp_path, name, share):
    content = files[name].read_bytes()
    found = answer(put(tmp_path / "t", files[name], content[: int(share * len(content))]))
    assert found is None or np.array_equal(found, read_image(str(files[name]), F32).numpy())


@pytest.mark.parametrize("name", ["stack.nii.gz", "stack.mha", "gray.png"])
def test_a_flipped_bit_in_compressed_pixels_is_found(files, tmp_path, name):
    content = files[name].read_bytes()
    for at in range(len(content) - 60, len(content) - 25, 5):
        flipped = content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :]
        assert answer(put(tmp_path / "f", files[name], flipped)) is None


def nifti(shape, code=2, bits=8, content=b"") -> bytes:
    header = bytearray(nibabel.Nifti1Image(PLANE, np.eye(4)).to_bytes()[:352])
    header[40:56] = struct.pack("<8h", len(shape), *shape, *[1] * (7 - len(shape)))
    header[70:74] = struct.pack("<2h", code, bits)
    return bytes(header) + content


def meta(size, name="LOCAL", content=b"\0" * 117, extra="") -> bytes:
    text = f"ObjectType = Image\nNDims = 2\nBinaryData = True\n{extra}DimSize = {size}\nElementType = MET_UCHAR\n"
    return f"{text}ElementDataFile = {name}\n".encode() + content


def png(width, height) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    sound = pillow("PNG")
    return sound[:12] + header + struct.pack(">I", zlib.crc32(header)) + sound[33:]


def bmp(width, height) -> bytes:
    sound = pillow("BMP")
    return sound[:18] + struct.pack("<ii", width, height) + sound[26:]


def jpeg(width, height, content=None) -> bytes:
    sound = pillow("JPEG") if content is None else content
    at = sound.index(b"\xff\xc0") + 5
    return sound[:at] + struct.pack(">HH", height, width) + sound[at + 4 :]


def endless() -> bytes:
    content = bytearray(tiff(PLANE))
    at = int.from_bytes(content[4:8], "little")
    end = at + 2 + 12 * int.from_bytes(content[at : at + 2], "little")
    content[end : end + 4] = content[4:8]
    return bytes(content)


def one_strip(content: bytes) -> bytes:
    for tag in (256, 257, 278):
        content = with_tag(content, tag, HUGE)
    return content


def bomb() -> bytes:
    """A strip for 117 bytes that inflates to 64 MB."""
    packed = zlib.compress(bytes(2**26), 9)
    sound = tiff(PLANE, compression="zlib")
    return with_tag(with_tag(sound, 273, len(sound)), 279, len(packed)) + packed


#: name of the file -> content, part of the message
CASES = {
    "huge.tif": (with_tag(with_tag(tiff(PLANE), 256, HUGE), 257, HUGE), "states 1000000 x 1000000 px"),
    "packed.tif": (with_tag(with_tag(tiff(PLANE, compression="lzw"), 256, HUGE), 257, HUGE), "states 1000000 x"),
    "lzma.tif": (one_strip(tiff(PLANE, compression="lzma")), "GiB of memory"),
    "tile.tif": (with_tag(with_tag(tiff(PLANE, tile=(16, 16)), 322, 2**20), 323, 2**20), "tiles are 1048576 x"),
    "jpeg.tif": (jpeg(65500, 65500, tiff(PLANE, compression="jpeg")), "a part of it states 65500 x 65500 px"),
    "zero.tif": (with_tag(tiff(PLANE), 256, 0), ""),
    "missing.tif": (with_tag(tiff(STACK, compression="zlib"), 273, 0), "0 of 1 parts are there"),
    "beyond.tif": (with_tag(tiff(STACK, compression="zlib"), 273, 10**6), "its pixels end at byte"),
    "endless.tif": (endless(), "damaged after page 1"),
    "huge.png": (png(HUGE, HUGE), ""),
    "large.png": (png(60000, 60000), "states 60000 x 60000 px, its "),
    "zero.png": (png(0, 9), ""),
    "huge.jpg": (jpeg(65500, 65500), "states 65500 x 65500 px"),
    "huge.bmp": (bmp(40000, 40000), "states 40000 x 40000 px"),
    "zero.bmp": (bmp(0, 9), ""),
    "huge.nii": (nifti((32767, 32767, 32767)), "states 32767 x 32767 x 32767 px"),
    "axes.nii": (nifti((3, 3, 3, 32767, 32767, 32767)), "states 3 x 3 x 3 x 32767"),
    "zero.nii": (nifti((0, 9)), "states 0 x 9 px"),
    "minus.nii": (nifti((-5, 9)), "states -5 x 9 px"),
    "code.nii": (nifti((9, 13), code=999), "cannot be read"),
    "complex.nii": (nifti((9, 13), 32, 64, bytes(9 * 13 * 8)), "its pixels are complex numbers (complex64): save"),
    "bomb.nii.gz": (gzip.compress(nifti((9, 13)) + bytes(2**26)), "more is packed in it than its header states"),
    "huge.mha": (meta("1000000 1000000"), "states 1000000 x 1000000 px"),
    "slices.mha": (meta("1 1 1000000000").replace(b"NDims = 2", b"NDims = 3"), "states 1 x 1 x 1000000000 px"),
    "line.mha": (meta("117").replace(b"NDims = 2", b"NDims = 1"), "it has 1 axes, an image has 2 to 4"),
    "zero.mha": (meta("0 9"), ""),
    "short.mha": (meta("13 9", content=zlib.compress(bytes(9)), extra="CompressedData = True\n"), "less is packed"),
    "size.mha": (meta("13 9", extra="CompressedData = True\nCompressedDataSize = 99999999999\n"), "is more than there"),
    "other.mhd": (meta("13 1", SECRET, b""), "LOCAL or the name of one file beside it, got '/etc/hostname'"),
    "above.mhd": (meta("13 1", "../secret.raw", b""), "got '../secret.raw'"),
    "list.mhd": (meta("13 1", "LIST", b"/etc/hostname\n"), "got 'LIST'"),
}


@pytest.fixture
def peak():
    """MiB by which this process's resident memory has risen at most, since the test began."""
    reset = Path("/proc/self/clear_refs")
    try:
        reset.write_text("5")
    except OSError:
        pytest.skip("this system does not tell the peak of a process's memory")

    def high() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))

    start = high()
    return lambda: high() - start


@pytest.mark.parametrize("name", CASES)
def test_what_a_header_states_costs_nothing(name, tmp_path, peak):
    content, told = CASES[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ImageError) as caught:
        read_image(str(path), F32)
    assert caught.value.path == str(path)
    assert told in str(caught.value)
    assert len(pages(path)) < 10
    assert peak() < 60


def test_a_strip_that_inflates_to_more_than_its_place(tmp_path, peak):
    (tmp_path / "bomb.tif").write_bytes(bomb())
    found = answer(tmp_path / "bomb.tif")
    assert found is None or not found.any()
    assert peak() < 40


def test_an_image_for_which_memory_is_too_small_is_told_so(files, monkeypatch):
    class Little:
        available = 100

    monkeypatch.setattr(psutil, "virtual_memory", Little)
    for name in ("plain.tif", "plane.nii"):
        with pytest.raises(ImageError, match=r"px need 0\.0 GiB of memory, 0\.0 GiB are free"):
            read_image(str(files[name]), F32)
        assert spatial_shape(files[name])


def test_the_best_compression_is_no_damage(tmp_path):
    """Blank masks, whose ratios come near to what the formats allow."""
    blank = np.zeros((2000, 2000), np.uint8)
    (tmp_path / "a.png").write_bytes(pillow("PNG", blank > 0, optimize=True))
    (tmp_path / "b.png").write_bytes(pillow("PNG", blank))
    (tmp_path / "c.jpg").write_bytes(pillow("JPEG", blank, quality=1, optimize=True, progressive=True))
    for name in ("lzw", "zlib", "packbits", "zstd"):
        (tmp_path / f"{name}.tif").write_bytes(tiff(blank, compression=name, rowsperstrip=2000))
    (tmp_path / "fax.tif").write_bytes(pillow("TIFF", blank > 0, compression="group4"))
    nibabel.save(nibabel.Nifti1Image(blank, np.eye(4)), tmp_path / "a.nii.gz")
    for path in tmp_path.iterdir():
        assert read_image(str(path), F32).shape[-2:] == (2000, 2000), path


def test_a_damaged_statement_of_the_pixel_size_does_not_cost_the_pixels(files, tmp_path):
    content = files["ome.tif"].read_bytes().replace(b"<Pixels", b"<<ixels")
    (tmp_path / "a.tif").write_bytes(content)
    found = answer(tmp_path / "a.tif")
    assert found is not None
    with pytest.raises(UnreadableImageError):
        read_image(str(put(tmp_path / "n", files["plane.nii"], b"no")), F32)

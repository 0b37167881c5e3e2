"""Small files of every format, ways to damage them, and what must come of it."""

from __future__ import annotations

import io
import shutil
import struct
from pathlib import Path

import nibabel
import numpy as np
import tifffile
from hypothesis import strategies as st
from PIL import Image

from bundle.data.errors import ImageError
from bundle.data.formats import extension, spatial_shape
from bundle.data.pixel_size import pixel_size
from bundle.data.readers import read_image

F32 = np.dtype(np.float32)
_RANDOM = np.random.RandomState(0)
PLANE = _RANDOM.randint(0, 255, (9, 13), np.uint8)
STACK = _RANDOM.randint(0, 255, (3, 9, 13), np.uint8)


def tiff(array=STACK, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, array, **options if options.get("imagej") else {"photometric": "minisblack", **options})
    return file.getvalue()


def pillow(kind: str, array=PLANE, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind, **options)
    return file.getvalue()


def make_files(folder: Path) -> dict[str, Path]:
    """Name -> a sound file."""
    import itk

    folder.mkdir(exist_ok=True)
    colours = np.stack([PLANE, PLANE[::-1], PLANE[:, ::-1]], -1)
    contents = {
        **{f"{name}.tif": tiff(compression=name) for name in ("zlib", "lzw", "packbits", "zstd")},
        "plain.tif": tiff(),
        "tiles.tif": tiff(tile=(16, 16)),
        "big.tif": tiff(bigtiff=True, byteorder=">"),
        "jpeg.tif": tiff(PLANE, compression="jpeg"),
        "imagej.tif": tiff(STACK.astype(np.uint16), imagej=True, metadata={"axes": "ZYX", "unit": "um", "spacing": 2}),
        "ome.tif": tiff(ome=True, metadata={"axes": "ZYX", "PhysicalSizeX": 0.3, "PhysicalSizeY": 0.3}),
        "fax.tif": pillow("TIFF", PLANE > 128, compression="group4"),
        "gray.png": pillow("PNG"),
        "one_bit.png": pillow("PNG", PLANE > 128),
        "colour.png": pillow("PNG", colours),
        "gray.jpg": pillow("JPEG"),
        "gray.bmp": pillow("BMP"),
        "colour.bmp": pillow("BMP", colours),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    nibabel.save(nibabel.Nifti1Image(PLANE, np.eye(4)), folder / "plane.nii")
    nibabel.save(nibabel.Nifti1Image(STACK.T.astype(np.int16), np.eye(4)), folder / "stack.nii.gz")
    itk.imwrite(itk.image_from_array(PLANE), str(folder / "plane.mha"))
    itk.imwrite(itk.image_from_array(STACK), str(folder / "stack.mha"), compression=True)
    itk.imwrite(itk.image_from_array(PLANE), str(folder / "apart.mhd"))
    return {path.name: path for path in sorted(folder.iterdir()) if extension(path)}


_NUMBERS = [b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\x10\0", b"\x40\x42\x0f\0"]
#: (what, where as a share of the file, bytes): the first half of the positions lies in the first 15 %, the header
edits = st.lists(
    st.tuples(
        st.sampled_from(["write", "insert", "delete"]),
        st.floats(0, 0.15) | st.floats(0, 1, exclude_max=True),
        st.sampled_from(_NUMBERS) | st.binary(min_size=1, max_size=16),
    ),
    min_size=1,
    max_size=8,
)


def edited(content: bytes, changes) -> bytes:
    made = bytearray(content)
    for what, where, part in changes:
        at = int(where * len(made))
        made[at : at + (0 if what == "insert" else len(part))] = b"" if what == "delete" else part
    return bytes(made)


def answer(path: Path) -> np.ndarray | None:
    """The pixels, or None where the file is refused by an error of ours that names it; anything else is raised."""
    pixel_size(path)
    found = None
    for read in (spatial_shape, lambda name: read_image(str(name), F32).numpy()):
        refused = None
        try:
            found = read(path)
        except ImageError as error:
            found, refused = None, error
        assert refused is None or (refused.path == str(path) and "\n" not in str(refused)), refused
    return found


def put(folder: Path, sound: Path, content: bytes) -> Path:
    """A file with this content and the kind of ``sound``, with the data file that goes with it."""
    folder.mkdir(exist_ok=True)
    if sound.suffix == ".mhd":
        shutil.copy(sound.with_suffix(".raw"), folder)
    path = folder / f"damaged{extension(sound)}"
    path.write_bytes(content)
    return path


def with_tag(content: bytes, tag: int, value: int) -> bytes:
    """A little-endian TIFF with another value of one tag of its first page, as 32 bit."""
    at = int.from_bytes(content[4:8], "little")
    for entry in range(at + 2, at + 2 + 12 * int.from_bytes(content[at : at + 2], "little"), 12):
        if int.from_bytes(content[entry : entry + 2], "little") == tag:
            return content[: entry + 2] + struct.pack("<HII", 4, 1, value) + content[entry + 12 :]
    raise KeyError(tag)

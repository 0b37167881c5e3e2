"""The same image is found whatever its gray scale and orientation, a near-copy is named, another one never."""

from __future__ import annotations

import itk
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle.data import fingerprint as module
from bundle.data.fingerprint import image_fingerprints, seen_images
from bundle.data.same_image import most_alike, sketch_of

ROOM = {"max_examples": 40, "deadline": None}


def texture(seed, height=48, width=64, kind="smooth"):
    """What a microscope may give: 8 bits, of a few scales, of noise alone, or sparse."""
    random = np.random.RandomState(seed)
    image = random.normal(size=(height, width))
    if kind == "smooth":
        waves = np.fft.rfft2(image) / (0.02 + np.hypot(*np.meshgrid(np.fft.rfftfreq(width), np.fft.fftfreq(height))))
        image = np.fft.irfft2(waves, (height, width))
    if kind == "sparse":
        image = np.where(image > 2, image, 0)
    image = image - image.min()
    return np.rint(image * 255 / image.max())


def turned(image, number):
    return np.rot90(image if number < 4 else image.T, number % 4)


KINDS = st.sampled_from(["smooth", "noise", "sparse"])


@settings(**ROOM)
@given(
    seed=st.integers(0, 2**31),
    kind=KINDS,
    height=st.integers(16, 70),
    width=st.integers(16, 70),
    factor=st.one_of(st.sampled_from([257.0, 1.0, -1.0, 1 / 255]), st.floats(1e-3, 1e3)),
    offset=st.floats(-1e3, 1e3),
    number=st.integers(0, 7),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_any_linear_contrast_in_any_orientation_is_the_same(seed, kind, height, width, factor, offset, number, dtype):
    image = texture(seed, height, width, kind)
    known = {"other": sketch_of(texture(seed + 1)).text(), "it": sketch_of(image.astype(np.float32)).text()}
    changed = turned(image * factor + offset * factor, number).astype(dtype)
    like = most_alike(sketch_of(changed), known)
    assert like is not None
    assert (like.name, like.same) == ("it", True)


@settings(**ROOM)
@given(seed=st.integers(0, 2**31), kinds=st.tuples(KINDS, KINDS), size=st.integers(16, 70))
def test_unrelated_images_are_neither_the_same_nor_nearly(seed, kinds, size):
    first, second = (texture(seed + number, size, 64, kind) for number, kind in enumerate(kinds))
    assert most_alike(sketch_of(second), {"first": sketch_of(first).text()}) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda image: np.where(np.arange(image.size).reshape(image.shape) == 999, 255 - image, image),
        lambda image: image + np.random.RandomState(1).normal(0, 12, image.shape),
        lambda image: 255 * (image / 255) ** 0.8,
        lambda image: image[3:, :-2],
        lambda image: image[2:-2, 2:-2].T[::-1] * 257,
    ],
    ids=["a changed pixel", "noise", "a gray curve", "cropped", "cropped and turned"],
)
def test_a_near_copy_is_found(change):
    images = [texture(seed, 240, 256) for seed in range(6)]
    known = {str(number): sketch_of(image).text() for number, image in enumerate(images)}
    for number, image in enumerate(images):
        like = most_alike(sketch_of(change(image)), known)
        assert like is not None
        assert like.name == str(number)
        assert like.correlation >= 0.95


def test_neither_a_hot_pixel_nor_the_lamp_makes_images_alike():
    lamp = 200 * np.exp(-(np.linspace(-1, 1, 96)[:, None] ** 2) - np.linspace(-1, 1, 96) ** 2)
    first, second = (lamp + 0.2 * texture(seed, 96, 96, "noise") for seed in range(2))
    assert most_alike(sketch_of(first), {"second": sketch_of(second).text()}) is None
    first[7, 9] = second[7, 9] = 65535
    assert most_alike(sketch_of(first), {"second": sketch_of(second).text()}) is None


@pytest.mark.parametrize("image", [np.zeros((20, 20)), np.full((20, 20), 7.0), np.arange(20.0), np.eye(7)])
def test_one_gray_value_or_a_few_pixels_have_no_sketch(image):
    assert sketch_of(image) is None


def test_a_stack_is_turned_in_its_plane():
    stack = np.stack([texture(seed, 40, 44) for seed in range(3)], axis=-1)
    known = {"stack": sketch_of(stack).text()}
    assert most_alike(sketch_of(stack[::-1].swapaxes(0, 1) * 3), known).same
    assert (
        most_alike(sketch_of(stack[..., ::-1]), known) is None
        or not most_alike(sketch_of(stack[..., ::-1]), known).same
    )


@pytest.mark.parametrize("text", ["", "?" * 512, "AAAA", "0123456789abcdeg"])
def test_a_text_that_is_no_sketch_is_refused(text):
    with pytest.raises(ValueError, match="is no sketch"):
        most_alike(sketch_of(texture(0)), {"a": text})


@pytest.fixture
def folder(tmp_path):
    """One image, as people save it: 16 bits, another contrast, turned, a page of a stack, cropped; and another one."""
    image = texture(3, 120, 128).astype(np.uint8)
    pages = np.stack([texture(4, 120, 128).astype(np.uint8), image])
    tifffile.imwrite(tmp_path / "a.tif", image)
    tifffile.imwrite(tmp_path / "sixteen.tif", image.astype(np.uint16) * 257)
    tifffile.imwrite(tmp_path / "contrast.tif", np.rint(image * 0.7 + 30).astype(np.uint8))
    tifffile.imwrite(tmp_path / "half.tif", (image / 255).astype(np.float16))
    tifffile.imwrite(tmp_path / "turned.tif", np.rot90(image), compression="zlib")
    tifffile.imwrite(tmp_path / "stack.tif", pages, photometric="minisblack")
    itk.imwrite(itk.image_from_array(np.ascontiguousarray(image[:, ::-1])), tmp_path / "flipped.png")
    tifffile.imwrite(tmp_path / "crop.tif", image[2:, 1:])
    tifffile.imwrite(tmp_path / "other.tif", texture(5, 120, 128).astype(np.uint8))
    return tmp_path


def item(path, **more):
    return {"image": str(path), "name": path.name, **more}


def test_files_are_known_again(folder):
    known = image_fingerprints([item(folder / "other.tif"), item(folder / "a.tif")])
    for name, more in [
        *((name, {}) for name in ("sixteen.tif", "contrast.tif", "half.tif", "turned.tif", "flipped.png")),
        ("stack.tif", {"slice": 1}),
    ]:
        (found,) = seen_images([item(folder / name, **more)], known)
        assert (found.name, found.same) == ("a.tif", True)
    (found,) = seen_images([item(folder / "crop.tif")], known)
    assert (found.name, found.same) == ("a.tif", False)
    assert seen_images([item(folder / "stack.tif", slice=0)], known) == []


def test_what_earlier_versions_wrote_is_still_compared(folder):
    old = module._pixels(str(folder / "a.tif"), None)
    known = {"of another image": "0" * 16, "old": old, **image_fingerprints([item(folder / "other.tif")])}
    (found,) = seen_images([item(folder / "stack.tif", slice=1)], known)
    assert (found.name, found.same) == ("old", True)
    (found,) = seen_images([item(folder / "other.tif")], known)
    assert found.name == "other.tif"


def test_a_file_written_anew_is_read_anew(folder):
    known = image_fingerprints([item(folder / "a.tif")])
    tifffile.imwrite(folder / "a.tif", texture(9, 100, 90).astype(np.uint8))
    assert image_fingerprints([item(folder / "a.tif")]) != known

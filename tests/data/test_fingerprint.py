"""The fingerprint follows content, names and slices, and nothing else."""

from __future__ import annotations

import shutil

import itk
import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image

from bundle.data import fingerprint as module
from bundle.data.fingerprint import fingerprint, image_fingerprints, seen_images


@pytest.fixture
def items(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.tif").write_bytes(name.encode() * 10)
        (tmp_path / f"{name}-label.tif").write_bytes(name.encode() * 7)
    return [{"image": str(tmp_path / f"{n}.tif"), "label": str(tmp_path / f"{n}-label.tif"), "name": n} for n in "ab"]


def test_form_and_independence_of_order_and_place(items, tmp_path):
    print_ = fingerprint(items)
    assert len(print_) == 16
    assert int(print_, 16) >= 0
    assert fingerprint(items[::-1]) == print_
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for item in items:
        for key in ("image", "label"):
            item[key] = shutil.copy(item[key], moved / f"other-{key}-{item['name']}.tif")
    assert fingerprint(items) == print_


def test_any_change_shows(items):
    before = fingerprint(items)
    variants = [
        [{**items[0], "name": "c"}, items[1]],
        [{**items[0], "slice": 0}, items[1]],
        [{**items[0], "slice": 1}, items[1]],
        items[:1],
        [{key: items[0][key] for key in ("image", "name")}, items[1]],
        [{**items[0], "label": items[1]["label"]}, {**items[1], "label": items[0]["label"]}],
        [{**items[0], "image": items[0]["label"], "label": items[0]["image"]}, items[1]],
    ]
    with open(items[1]["label"], "r+b") as file:
        file.write(b"x")
    prints = [before, fingerprint(items), *map(fingerprint, variants)]
    assert len(set(prints)) == len(prints)


def test_each_file_is_read_once(items, monkeypatch):
    read = []
    original = module._content
    monkeypatch.setattr(module, "_content", lambda path: read.append(path) or original(path))
    fingerprint([{**items[0], "name": str(i), "slice": i} for i in range(30)])
    assert len(read) == 2


@pytest.mark.parametrize(("pixels", "sign"), [("v.raw", "="), ("v 1.raw", "="), ("v.raw", ":")])
def test_pixels_beside_a_header_count(pixels, sign, tmp_path):
    (tmp_path / "v.mhd").write_text(f"NDims = 2\nElementDataFile {sign} {pixels}\n")
    (tmp_path / pixels).write_bytes(b"1")
    items = [{"image": str(tmp_path / "v.mhd"), "name": "v"}]
    before = fingerprint(items), image_fingerprints(items)
    (tmp_path / pixels).write_bytes(b"2")
    assert fingerprint(items) != before[0]
    assert image_fingerprints(items) != before[1]


@pytest.mark.parametrize("named", ["v.mhd", "missing.raw"])
def test_a_header_without_pixels_beside_it_counts_by_itself(named, tmp_path):
    (tmp_path / "v.mhd").write_text(f"NDims = 2\nElementDataFile = {named}\n")
    assert len(fingerprint([{"image": str(tmp_path / "v.mhd"), "name": "v"}])) == 16


def test_an_image_is_known_by_its_pixels_wherever_they_are(tmp_path):
    pages = np.random.RandomState(0).randint(0, 60000, (5, 9, 12), np.uint16)
    tifffile.imwrite(tmp_path / "five.tif", pages)
    tifffile.imwrite(tmp_path / "eight.tif", np.concatenate([pages[2:], 1 + pages]), compression="zlib")
    tifffile.imwrite(tmp_path / "one.tif", pages[2])
    tifffile.imwrite(tmp_path / "turned.tif", pages[2].T)
    itk.imwrite(itk.image_from_array(pages[2]), tmp_path / "one.png")
    nibabel.save(nibabel.Nifti1Image(pages[2].T[..., None].astype(np.int32), np.eye(4)), tmp_path / "one.nii.gz")

    def digest(name, index=None):
        item = {"image": str(tmp_path / name)} | ({} if index is None else {"slice": index})
        return image_fingerprints([item])[name]

    same = {digest("five.tif", 2), digest("eight.tif", 0), *map(digest, ("one.tif", "one.png", "one.nii.gz"))}
    assert len(same) == 1
    others = {digest("five.tif", 0), digest("five.tif", 3), digest("eight.tif", 2), digest("turned.tif"), *same}
    assert len(others) == 5


def test_what_cannot_be_read_counts_by_its_bytes(items, tmp_path):
    digits = image_fingerprints(items)
    assert len(set(digits.values())) == 2
    shutil.copy(items[0]["image"], tmp_path / "c.tif")
    assert image_fingerprints([{"image": str(tmp_path / "c.tif"), "name": "c"}])["c"] == digits["a"]


def test_missing_file(items, tmp_path):
    with pytest.raises(FileNotFoundError, match="gone"):
        fingerprint([{"image": str(tmp_path / "gone.tif"), "name": "gone"}])
    with pytest.raises(FileNotFoundError, match="gone"):
        image_fingerprints([{"image": str(tmp_path / "gone.tif"), "name": "gone"}])


def channels(path, pixels):
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata={"axes": "CYX"}, ome=True)
    return {"image": str(path)}


def test_an_image_of_several_channels_is_known_by_any_of_them(tmp_path):
    random = np.random.RandomState(0)
    first, second, third, other = (random.randint(0, 200, (40, 56)).astype(np.uint16) for _ in range(4))
    both = channels(tmp_path / "a.ome.tif", np.stack([first, second]))
    known = image_fingerprints([both])
    assert [len(text) for text in known.values()] == [2 * 512 + 1]
    for number, same in enumerate(
        [
            np.stack([second * 3 + 7, first]),  # in another order and gray scale
            np.stack([third, np.rot90(second, 2), other]),
            second[None],  # saved alone
        ]
    ):
        (seen,) = seen_images([channels(tmp_path / f"{number}.ome.tif", same)], known)
        assert seen.same
    assert seen_images([channels(tmp_path / "new.ome.tif", np.stack([third, other]))], known) == []
    alone = image_fingerprints([channels(tmp_path / "second.ome.tif", second[None])])
    (seen,) = seen_images([both], alone)
    assert (seen.same, seen.name) == (True, "second.ome.tif")
    flat = channels(tmp_path / "flat.ome.tif", np.stack([np.zeros_like(first), first]))  # an empty channel is like none
    (seen,) = seen_images([flat], known)
    assert seen.same


def test_a_volume_is_known_whole_beside_ranges_of_another(tmp_path):
    stacks = np.random.RandomState(0).randint(0, 200, (2, 4, 40, 56)).astype(np.uint8)
    for name, stack in zip("abc", [*stacks, stacks[1]], strict=True):
        tifffile.imwrite(tmp_path / f"{name}.tif", stack, photometric="minisblack")
    first, second, copy = ({"image": str(tmp_path / f"{name}.tif"), "name": name} for name in "abc")
    known = image_fingerprints([{**first, "name": "a:0-1", "slices": (0, 2)}, second])
    assert [(seen.name, seen.same) for seen in seen_images([copy, first], known)] == [("b", True), ("a:0-1", True)]


def test_colours_count_by_their_luminance_as_they_always_did(tmp_path):
    colours = np.random.RandomState(1).randint(0, 255, (40, 56, 3)).astype(np.uint8)
    Image.fromarray(colours).save(tmp_path / "a.png")
    gray = (colours.astype(np.float32) * np.array([0.299, 0.587, 0.114], np.float32)).sum(-1)
    tifffile.imwrite(tmp_path / "gray.tif", gray)
    (one,), (other,) = (
        image_fingerprints([{"image": str(tmp_path / name)}]).values() for name in ("a.png", "gray.tif")
    )
    assert len(one) == 512
    assert seen_images([{"image": str(tmp_path / "a.png")}], {"gray": other})[0].same

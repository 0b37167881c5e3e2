"""Each finding, with a folder where it must appear and one where it must not."""

import dataclasses
import re
import shutil
from functools import partial

import itk
import nibabel
import numpy as np
import pytest
import tifffile
from monai.transforms import Compose

from bundle.data import datalist, doctor
from bundle.data.doctor.misplaced import TURNS
from bundle.data.loading import LoadSliced
from bundle.data.same_image import oriented
from bundle.data.synthetic import make_dataset
from bundle.data.truth import LoadTruthd
from transforms import LabelToClassedInstancesd

SEVERAL, SIDE = 6, 224
READ = Compose([LoadTruthd(["image", "label"]), LabelToClassedInstancesd("label")])


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """Synthetic images that are as they should be."""
    return make_dataset(tmp_path_factory.mktemp("doctor") / "cells", count=SEVERAL, size=(SIDE, SIDE), seed=3)


@pytest.fixture
def folder(clean, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(clean, tmp_path / "cells")


def sheets_of(folder):
    return [doctor.measure(item, READ) for item in datalist(folder, "folder")]


@pytest.fixture(scope="module")
def clean_sheets(clean):
    return sheets_of(clean)


def change(folder, kind, names, do):
    for name in names:
        file = folder / kind / f"{name:03d}.tif"
        tifffile.imwrite(file, np.ascontiguousarray(do(tifffile.imread(file))))


def titles(findings):
    return [finding.title for finding in findings]


def everything(sheets):
    return [
        *doctor.label_findings(sheets),
        *doctor.turned_labels(sheets),
        *doctor.shifted_labels(sheets),
        *doctor.twins(sheets, (), ()),
        *doctor.unlike_others(sheets),
    ]


def test_clean_images_have_no_finding(clean_sheets):
    assert everything(clean_sheets) == []


def test_what_is_measured_of_a_known_picture(tmp_path, little_memory):
    label = np.zeros((40, 60), np.int32)
    label[10:20, 5:15], label[10:20, 15:35], label[30:40, 40:50] = 1, 2, 2**31 - 1  # two touch; one is cut by the edge
    image = np.arange(2400, dtype=np.uint16).reshape(40, 60)
    for kind, array in (("image", image), ("label", label)):
        (tmp_path / kind).mkdir()
        about = {"imagej": True, "resolution": (2, 2), "metadata": {"unit": "um"}} if kind == "image" else {}
        tifffile.imwrite(tmp_path / kind / "a.tif", array, **about)
    (sheet,) = sheets_of(tmp_path)
    assert (sheet.size, sheet.channels, sheet.pixel_type, sheet.pixel_um) == ((60, 40), 1, "uint16", (0.5, 0.5))
    assert sheet.areas.tolist() == [100, 200, 100]
    assert sheet.whole.tolist() == [True, True, False]
    assert sheet.touching == 2
    assert sheet.foreground == pytest.approx(400 / 2400)
    np.testing.assert_allclose(sheet.diameters, 2 * np.sqrt(np.array([100, 200]) / np.pi))
    rows = dict(doctor.facts([sheet]))
    assert rows["touching another"] == "2 of 3 objects (67 %)"
    assert rows["pixel size"] == "0.5 x 0.5 µm"
    assert rows["diameter"] == "14 px in the middle, half of them 12 to 15 px; 6.81 µm, half of them 6.23 to 7.39 µm"


@pytest.mark.parametrize("turn", range(1, 8))
def test_turned_labels(folder, turn):
    change(folder, "label", range(SEVERAL), lambda label: oriented(label.T)[_undoes(turn)].T)
    (found,) = doctor.turned_labels(sheets_of(folder))
    assert found.repair == {"turn": turn}
    assert TURNS[turn] in found.text
    assert "all 6 images" in found.text


def _undoes(turn):
    """The orientation after which ``turn`` gives the picture as it was."""
    picture = np.arange(9).reshape(3, 3)
    return next(n for n in range(8) if np.array_equal(oriented(oriented(picture)[n])[turn], picture))


def test_one_turned_label_is_named(folder):
    change(folder, "label", [5], lambda label: label.T)
    (found,) = doctor.turned_labels(sheets_of(folder))
    assert found.images == ("005",)
    assert found.repair == {"turn": 4}


@pytest.mark.parametrize(("um", "stated"), [(None, None), ([0.2, 0.3, 0.9], (0.2, 0.3, 0.9))])
@pytest.mark.parametrize("kind", ["mha", "nii.gz"])
def test_volumes_say_their_pixel_size_where_they_know_it(tmp_path, kind, um, stated):
    volume = np.random.RandomState(0).randint(0, 99, (20, 21, 22)).astype(np.uint8)
    for name in ("image", "label"):
        (tmp_path / name).mkdir()
        path = tmp_path / name / f"a.{kind}"
        if kind == "mha":
            image = itk.image_from_array(volume)
            image.SetSpacing([each / 1e3 for each in um or [1e3] * 3])
            itk.imwrite(image, str(path))
        else:
            image = nibabel.Nifti1Image(volume.T, np.diag([*(um or [1, 1, 1]), 1]))
            image.header.set_xyzt_units("micron" if um else None)
            nibabel.save(image, path)
    read = Compose([LoadTruthd(["image", "label"], spatial_dims=3), LabelToClassedInstancesd("label")])
    sheet = doctor.measure(datalist(tmp_path, "folder", slices=False)[0], read)
    assert sheet.pixel_um == (None if stated is None else pytest.approx(stated))


def roll(array, x, y):
    """Moved right by ``x`` and down by ``y``; what comes from nowhere is 0."""
    moved = np.zeros_like(array)
    moved[max(0, y) : SIDE + min(0, y), max(0, x) : SIDE + min(0, x)] = array[
        max(0, -y) : SIDE + min(0, -y), max(0, -x) : SIDE + min(0, -x)
    ]
    return moved


@pytest.mark.parametrize(("x", "y", "words"), [(6, 0, r"\d px left"), (-4, 8, r"\d px right and \d px up")])
def test_shifted_labels(folder, x, y, words):
    change(folder, "label", range(SEVERAL), partial(roll, x=x, y=y))
    (found,) = doctor.shifted_labels(sheets_of(folder))
    assert np.abs(np.add(found.repair["shift"], (x, y))).max() <= 1  # outlines are no finer
    assert re.search(f"fit better when moved by about {words}", found.text)


def test_one_shifted_label_is_named_and_one_pixel_is_none(folder):
    change(folder, "label", [2], partial(roll, x=0, y=7))
    (found,) = doctor.shifted_labels(sheets_of(folder))
    assert found.images == ("002",)
    change(folder, "label", [2], partial(roll, x=0, y=-6))
    assert doctor.shifted_labels(sheets_of(folder)) == []


def test_labels_beside_noise_are_no_shift(folder):
    random = np.random.RandomState(0)
    change(folder, "image", range(SEVERAL), lambda image: random.randint(0, 255, image.shape).astype(np.uint8))
    sheets = sheets_of(folder)
    assert doctor.turned_labels(sheets) == []
    assert doctor.shifted_labels(sheets) == []


def test_empty_labels(folder):
    change(folder, "label", [1, 4], np.zeros_like)
    (found,) = doctor.label_findings(sheets_of(folder))
    assert (found.level, found.images) == ("note", ("001", "004"))
    change(folder, "label", range(4), np.zeros_like)
    found, *_ = doctor.label_findings(sheets_of(folder))
    assert found.level == "warning"
    change(folder, "label", range(SEVERAL), np.zeros_like)
    (found,) = doctor.label_findings(sheets_of(folder))
    assert (found.level, found.title) == ("stop", "Nothing to learn")


def test_swapped_foreground(folder):
    change(folder, "label", range(SEVERAL), lambda label: (label == 0).astype(np.uint8))
    assert "Objects and background swapped" in titles(doctor.label_findings(sheets_of(folder)))
    change(folder, "label", range(SEVERAL), np.ones_like)
    found = doctor.label_findings(sheets_of(folder))
    assert found[0].level == "stop"
    assert "has background, all their pixels are 1" in found[0].text


def test_numbers_that_are_none(folder, clean_sheets):
    odd = {"Numbers that are no objects", "Not annotated, or a cell", "Objects of few pixels"}
    assert not odd & set(titles(everything(clean_sheets)))
    change(folder, "label", range(1), lambda label: np.where(np.arange(SIDE) < 99, label, 255))
    (found,) = (each for each in doctor.label_findings(sheets_of(folder)) if each.title == "Not annotated, or a cell")
    assert found.images == ("000",)
    change(folder, "label", range(SEVERAL), lambda label: np.where(label > 0, 1 + label % 3, 0))
    assert "Numbers that are no objects" in titles(doctor.label_findings(sheets_of(folder)))
    change(folder, "label", range(SEVERAL), lambda label: np.uint8((np.indices(label.shape) % 7).sum(0) == 0))
    sheets = sheets_of(folder)
    assert "Objects of few pixels" in titles(doctor.label_findings(sheets))
    assert not odd & set(titles(doctor.label_findings(sheets, of_pixels=True)))


def test_images_and_labels_in_each_other_s_folder(folder):
    for kind, other in (("image", "away"), ("label", "image"), ("away", "label")):
        (folder / kind).rename(folder / other)
    (found,) = (each for each in doctor.label_findings(sheets_of(folder)) if each.title.startswith("Numbers that"))
    assert len(found.images) == len(list((folder / "label").iterdir()))
    assert "if label/ holds the images, exchange the two folders" in found.text


def test_few_images(clean_sheets):
    many = [dataclasses.replace(sheet, areas=np.tile(sheet.areas, 20)) for sheet in clean_sheets]
    assert "Few images" not in titles(doctor.label_findings(many[:5]))
    (found,) = (each for each in doctor.label_findings(many[:2]) if each.title == "Few images")
    assert found.level == "note"
    assert "There are 2 images." in found.text


def test_unusable_files_are_counted_and_few_are_said_of_all(clean_sheets):
    many = [dataclasses.replace(sheet, areas=np.tile(sheet.areas, 20)) for sheet in clean_sheets]
    assert dict(doctor.facts(clean_sheets[:4], images=5))["images"] == "4 of 5 usable"
    slices = [dataclasses.replace(sheet, item=clean_sheets[0].item) for sheet in clean_sheets[:4]]
    assert dict(doctor.facts(slices, images=5))["images"] == "4 of 5 slices usable in 1 file"
    assert dict(doctor.facts(slices))["images"] == "4 slices in 1 file"
    assert "Few images" not in titles(doctor.label_findings(many[:4], images=5))
    assert "Few objects" in titles(doctor.label_findings(clean_sheets[:1]))
    assert "Few objects" not in titles(doctor.label_findings(clean_sheets[:1], images=5))
    (found,) = (each for each in doctor.label_findings(many[:2], images=3) if each.title == "Few images")
    assert "There are 3 images." in found.text


def test_masks_of_one_value_in_which_touching_cells_count_as_one(folder):
    change(folder, "label", range(SEVERAL), lambda label: np.where(label > 0, 255, 0).astype(np.uint8))
    sheets = sheets_of(folder)
    assert sum(sheet.objects for sheet in sheets) >= 20
    assert "No touching objects" in titles(doctor.label_findings(sheets))
    assert "No touching objects" not in titles(doctor.label_findings(sheets, of_pixels=True))
    touching = [dataclasses.replace(sheets[0], touching=2), *sheets[1:]]
    assert "No touching objects" not in titles(doctor.label_findings(touching))


def test_duplicates_in_another_gray_scale_and_orientation(folder, clean_sheets):
    for kind, do in (("image", lambda image: 255 - image[::-1]), ("label", lambda label: label[::-1])):
        array = tifffile.imread(folder / kind / "001.tif")
        tifffile.imwrite(folder / kind / "copy.tif", np.ascontiguousarray(do(array)))
    (found,) = doctor.twins(sheets_of(folder), (), ())
    assert found.title == "Duplicates"
    assert set(found.images) == {"001", "copy"}
    assert doctor.twins(clean_sheets, (), ()) == []


def test_near_duplicates_matter_where_they_train_and_measure(folder):
    random = np.random.RandomState(0)
    noisy = np.clip(tifffile.imread(folder / "image" / "001.tif") + random.normal(0, 12, (SIDE, SIDE)), 0, 255)
    tifffile.imwrite(folder / "image" / "next.tif", noisy.astype(np.uint8))
    shutil.copy(folder / "label" / "001.tif", folder / "label" / "next.tif")
    sheets = sheets_of(folder)
    (note,) = doctor.twins(sheets, {"001", "next"}, {"002"})
    (warning,) = doctor.twins(sheets, {"001"}, {"next"})
    assert (note.level, warning.level) == ("note", "warning")
    assert warning.images == ("next", "001")


@pytest.mark.parametrize(
    ("do", "words"),
    [
        (lambda image: image // 6, "of less contrast"),
        (lambda image: np.minimum(image.astype(np.uint16) // 2 + 128 * 4, 2000), "brighter"),
        (lambda image: _blurred(image), "less sharp"),
    ],
)
def test_an_image_unlike_the_others(folder, do, words):
    change(folder, "image", [5], do)
    (found,) = doctor.unlike_others(sheets_of(folder))
    assert (found.level, found.images) == ("warning", ("005",))
    assert words in found.text


def _blurred(image):
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(image, 4)


def test_an_image_of_another_magnification(folder):
    for kind in ("image", "label"):
        change(folder, kind, [5], lambda array: array[::4, ::4])
    sheets = sheets_of(folder)
    (found,) = doctor.unlike_others(sheets)
    assert "with smaller objects" in found.text
    assert dict(doctor.facts(sheets))["size"] == "224 x 224 px (5 images), 56 x 56 px (1 image)"


def test_a_label_with_x_and_y_exchanged_says_so(folder):
    for kind in ("image", "label"):
        change(folder, kind, range(SEVERAL), lambda array: array[:, :100])
    change(folder, "label", [3], lambda label: label.T)
    with pytest.raises(Exception, match="they fit when x and y are exchanged") as caught:
        LoadSliced(["image", "label"])(datalist(folder, "folder")[3])
    assert "003.tif" in str(caught.value)

"""Results of several classes on disk: named channels, class map, class of each cell, in every format."""

import json
from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pytest
import tifffile
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged
from PIL import Image

from bundle.output.class_pictures import class_colours, class_picture, confusion_picture, with_legend
from bundle.output.overlay import overlay
from bundle.output.writer import SegmentationWriter
from tests.conftest import table

NAMES = ["ground", "round cell", "rod"]


def written(path):
    """Each probability, the class map and the cells tell positions, so that swapped axes show."""
    data = Compose([LoadImaged("image"), EnsureChannelFirstd("image")])({"image": str(path)})
    image = data["image"][:1]
    data["probability"] = np.concatenate([image / 255, image / 510, 1 - image / 170])
    data["instances"] = (image % 4).astype(int) if isinstance(image, np.ndarray) else (image % 4).to(int)
    data["class_map"] = data["instances"] % 3
    data["cell_classes"] = np.array([0, 1, 2, 1])
    return SegmentationWriter(path.parent / "out", class_names=NAMES)(data)["output_files"]


@pytest.mark.parametrize("shape", [(5, 7), (2, 5, 7)])
def test_tiff_names_its_channels(shape, tmp_path):
    array = np.arange(np.prod(shape)).reshape(shape).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack")
    files = written(tmp_path / "a.tif")
    with tifffile.TiffFile(files["probability"]) as file:
        pixels = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
        assert [channel["Name"] for channel in pixels["Channel"]] == NAMES
        assert file.series[0].axes == "CYX" if len(shape) == 2 else "CZYX"
        found = file.asarray()
    np.testing.assert_allclose(found, [array / 255, array / 510, 1 - array / 170], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(tifffile.imread(files["classes"]), array % 4 % 3)
    assert tifffile.imread(files["classes"]).dtype == np.uint8
    rows = table(files["cell_table"])
    pages = array.reshape(-1, *shape[-2:])
    assert [row["class"] for row in rows] == [NAMES[n] for n in (1, 2, 1) for _ in pages]
    assert [int(row["area_px"]) for row in rows] == [int((page % 4 == n).sum()) for n in (1, 2, 3) for page in pages]
    (row,) = table(tmp_path / "out" / "summary.csv")
    assert (row["cells"], row["cells round cell"], row["cells rod"]) == ("3", "2", "1")
    shares = [float(row[f"fraction {name}"]) for name in NAMES]
    assert shares == pytest.approx([(array % 4 % 3 == n).mean() for n in range(3)], abs=1e-6)
    if len(shape) == 2:
        colours = class_colours(3)[[0, 1, 2, 1]]
        expected = overlay(array, array % 4, of_cells=colours)
        np.testing.assert_array_equal(np.asarray(Image.open(files["overlay"])), with_legend(expected, NAMES))


@pytest.mark.parametrize(("wide", "rows"), [(400, 1), (110, 2), (20, 2)])
def test_the_legend_has_each_class_but_the_background(wide, rows):
    picture = np.random.RandomState(0).randint(0, 255, (9, wide, 3)).astype(np.uint8)
    found = with_legend(picture, NAMES)
    np.testing.assert_array_equal(found[:9], picture)
    legend = found[9:]
    assert legend.shape == (20 * rows, wide, 3)
    ground, *colours = class_colours(3).astype(np.uint8)
    places = [np.argwhere((legend == colour).all(axis=-1)) for colour in colours]
    assert [len(place) for place in places] == [100, 100]
    assert not (legend == ground).all(axis=-1).any()
    assert (places[1][0, 0] > places[0][0, 0]) == (rows > 1)
    if wide >= 110:  # text beside each square
        for place in places:
            (top, left), (bottom, right) = place.min(axis=0), place.max(axis=0)
            assert (legend[top : bottom + 1, right + 5 : right + 30].max(axis=-1) < 128).any(), left


def test_nifti_names_its_channels(tmp_path):
    array = np.arange(70).reshape(7, 5, 2).astype(np.uint8)
    affine = np.diag([0.5, 0.5, 2, 1])
    nib.save(nib.Nifti1Image(array, affine), tmp_path / "a.nii.gz")
    files = written(tmp_path / "a.nii.gz")
    found = nib.load(files["probability"])
    assert found.shape == (7, 5, 2, 3)
    np.testing.assert_allclose(found.affine, affine)
    np.testing.assert_allclose(found.get_fdata()[..., 1], array / 510, rtol=1e-6)
    (names,) = found.header.extensions
    assert json.loads(names.get_content().rstrip(b"\0"))["channels"] == NAMES
    np.testing.assert_array_equal(nib.load(files["classes"]).get_fdata(), array % 4 % 3)


def test_mha_names_its_channels(tmp_path):
    array = np.arange(35).reshape(5, 7).astype(np.uint8)
    image = itk.image_from_array(array)
    image.SetSpacing([0.5, 0.25])
    itk.imwrite(image, str(tmp_path / "a.mha"))
    files = written(tmp_path / "a.mha")
    assert b"ChannelNames = ground, round cell, rod" in Path(files["probability"]).read_bytes()[:2000]
    found = itk.imread(files["probability"])
    assert found.GetNumberOfComponentsPerPixel() == 3
    assert list(found.GetSpacing()) == [0.5, 0.25]
    np.testing.assert_allclose(itk.array_from_image(found)[..., 0], array / 255, rtol=1e-6)
    np.testing.assert_array_equal(itk.array_from_image(itk.imread(files["classes"])), array % 4 % 3)


def test_what_does_not_fit_the_names_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 7), np.uint8))
    data = Compose([LoadImaged("image"), EnsureChannelFirstd("image")])({"image": str(tmp_path / "a.tif")})
    data |= {"probability": data["image"], "instances": data["image"].to(int)}
    write = SegmentationWriter(tmp_path / "out", class_names=NAMES)
    with pytest.raises(KeyError, match="'class_map' is missing"):
        write(data)
    data |= {"class_map": data["instances"], "cell_classes": np.zeros(1, int)}
    with pytest.raises(ValueError, match=r"3HW\[D\] \(3 classes\) and 1HW\[D\], got \(1, 7, 5\)"):
        write(data)


def test_colours_differ_and_stay_the_same_with_more_classes():
    colours = class_colours(14)
    assert len(np.unique(colours.round(), axis=0)) == 14
    np.testing.assert_array_equal(class_colours(4), colours[:4])
    picture = class_picture(np.array([[0, 2, -1]]), 3)
    np.testing.assert_array_equal(picture[0], np.stack([colours[0], colours[2], np.zeros(3)]).astype(np.uint8))


def test_a_confusion_matrix_is_drawn_even_with_a_class_that_is_not_there():
    picture = confusion_picture(np.array([[5, 0], [0, 0]]), ["ground", "rod"])
    assert picture.dtype == np.uint8
    assert picture.std() > 10

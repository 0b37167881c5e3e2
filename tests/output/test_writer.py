"""Results lie pixel for pixel on the input file, whatever its format; nothing is ever overwritten by mistake."""

from __future__ import annotations

import os
from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pytest
import roifile
import tifffile
import torch
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged
from PIL import Image

from bundle.cells.instances import ProbabilityToInstancesd
from bundle.data.context import StackContextd
from bundle.data.loading import LoadSliced
from bundle.data.spacing import VOXEL_SPACING
from bundle.output import writer
from bundle.output.overlay import overlay
from bundle.output.writer import SegmentationWriter
from tests.conftest import table


def positions(*shape):
    """Every pixel holds its own position (C order), so that a transposed or flipped file shows itself."""
    return np.arange(np.prod(shape)).reshape(shape)


def load(path):
    return Compose([LoadImaged("image"), EnsureChannelFirstd("image")])({"image": str(path)})


def infer(path, **writer):
    """Stand-in for inference: the probability is the image / 255, the cells are the image plus 1."""
    data = load(path)
    image = data["image"]
    data["probability"] = image[:1] / 255
    data["instances"] = (image[:1] + 1).to(int)
    return SegmentationWriter(path.parent / "out", **writer)(data)["output_files"]


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_picture(tmp_path, suffix):
    array = positions(5, 7).astype(np.uint8)
    path = tmp_path / f"a.{suffix}"
    tifffile.imwrite(path, array) if suffix == "tif" else Image.fromarray(array).save(path)
    written = infer(path)
    cells = tifffile.imread(written["cells"])
    probability = tifffile.imread(written["probability"])
    assert cells.dtype == np.uint16
    assert probability.dtype == np.float32
    np.testing.assert_array_equal(cells, array + 1)
    np.testing.assert_allclose(probability, array / 255, rtol=1e-6)
    np.testing.assert_array_equal(np.asarray(Image.open(written["overlay"])), overlay(array, array + 1))
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "a_cells.csv",
        "a_cells.tif",
        "a_overlay.png",
        "a_probability.tif",
        "cells.csv",
        "summary.csv",
    ]


def test_colour_picture_is_shown_in_colour(tmp_path):
    array = np.zeros((20, 30, 3), np.uint8)
    array[:, 15:, 0] = 200  # right half red
    Image.fromarray(array).save(tmp_path / "a.png")
    data = load(tmp_path / "a.png")
    data |= {"probability": data["image"][:1] * 0, "instances": data["image"][:1].to(int) * 0}
    written = SegmentationWriter(tmp_path / "out")(data)["output_files"]
    picture = np.asarray(Image.open(written["overlay"]))
    assert picture[:, :15].max() == 0
    assert (picture[:, 15:] == (255, 0, 0)).all()


@pytest.mark.parametrize("pages", [2, 3, 4])
def test_tiff_stack_stays_a_stack(tmp_path, pages):
    array = positions(pages, 5, 7).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tiff", array, photometric="minisblack")
    written = infer(tmp_path / "a.tiff")
    with tifffile.TiffFile(written["cells"]) as tiff:
        assert len(tiff.pages) == pages
        np.testing.assert_array_equal(tiff.asarray(), array + 1)
    np.testing.assert_allclose(tifffile.imread(written["probability"]), array / 255, rtol=1e-6)
    stack = tifffile.imread(written["overlay_stack"])
    np.testing.assert_array_equal(stack, [overlay(page, page + 1) for page in array])
    np.testing.assert_array_equal(np.asarray(Image.open(written["overlay"])), stack[pages // 2])


def test_tiff_that_was_written_is_read_back_by_monai_as_it_was(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", positions(3, 5, 7).astype(np.uint8), photometric="minisblack")
    written = infer(tmp_path / "a.tif")
    back = LoadImaged("x")({"x": written["cells"]})["x"]
    assert tuple(back.shape) == (7, 5, 3)
    np.testing.assert_array_equal(back, positions(3, 5, 7).T + 1)


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 6)])
@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
def test_nifti_keeps_an_oblique_affine_and_its_units(tmp_path, shape, suffix):
    affine = np.array([[1.2, 0.3, 0.0, 4], [-0.2, 0.9, 0.1, 5], [0, 0.1, 3, 6], [0, 0, 0, 1]])
    source = nib.Nifti1Image(positions(*shape).astype(np.int16), affine)
    source.header.set_xyzt_units("micron")
    source.header.set_slope_inter(1, 0)
    nib.save(source, tmp_path / f"a.{suffix}")
    written = infer(tmp_path / f"a.{suffix}")
    for name, expected in (("cells", positions(*shape) + 1), ("probability", positions(*shape) / 255)):
        assert written[name].endswith(f"a_{name}.nii.gz")
        image = nib.load(written[name])
        np.testing.assert_allclose(image.affine, affine, atol=1e-6)
        np.testing.assert_allclose(np.asarray(image.dataobj), expected, rtol=1e-6)
        assert image.header.get_xyzt_units()[0] == "micron"
    assert nib.load(written["cells"]).get_data_dtype() == np.uint16


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("shape", [(5, 7), (4, 5, 7)])
def test_mha_keeps_spacing_origin_and_direction(tmp_path, shape, turned):
    n = len(shape)
    source = itk.image_from_array(positions(*shape).astype(np.uint8))
    spacing, origin = [0.5, 0.25, 2.0][:n], [1.0, -2.0, 3.0][:n]
    direction = np.eye(n)
    if turned:
        angle = np.radians(20)
        direction[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    source.SetSpacing(spacing)
    source.SetOrigin(origin)
    source.SetDirection(itk.matrix_from_array(direction))
    itk.imwrite(source, str(tmp_path / "a.mha"))
    written = infer(tmp_path / "a.mha")
    for name, expected in (("cells", positions(*shape) + 1), ("probability", positions(*shape) / 255)):
        image = itk.imread(written[name])
        np.testing.assert_allclose(itk.array_from_image(image), expected, rtol=1e-6)
        np.testing.assert_allclose(list(image.GetSpacing()), spacing)
        np.testing.assert_allclose(list(image.GetOrigin()), origin)
        np.testing.assert_allclose(itk.array_from_matrix(image.GetDirection()), direction, atol=1e-7)
    assert itk.array_from_image(itk.imread(written["cells"])).dtype == np.uint16


@pytest.mark.parametrize("suffix", ["tif", "mha"])
def test_more_cells_than_16_bits_hold(tmp_path, suffix):
    array = positions(300, 250).astype(np.float32)
    path = tmp_path / f"a.{suffix}"
    tifffile.imwrite(path, array) if suffix == "tif" else itk.imwrite(itk.image_from_array(array), str(path))
    cells = infer(path, overlays=False, tables=False, page=False)["cells"]
    back = tifffile.imread(cells) if suffix == "tif" else itk.array_from_image(itk.imread(cells))
    assert back.dtype == np.uint32
    np.testing.assert_array_equal(back, array + 1)


def test_summary_has_one_row_an_image(tmp_path):
    writer = SegmentationWriter(tmp_path / "out", overlays=False)
    for name, cells in (("a", 0), ("b", 2)):
        path = tmp_path / f"{name}.png"
        Image.fromarray(np.zeros((10, 20), np.uint8)).save(path)
        data = load(path)
        instances = np.zeros((1, 20, 10), np.int32)
        for cell in range(cells):
            instances[0, 5 * cell : 5 * cell + 3 + cell, :4] = cell + 1  # 12 and 16 px
        writer(data | {"probability": instances > 0, "instances": instances})
    empty, full = table(tmp_path / "out" / "summary.csv")
    assert (empty["file"], empty["output"]) == (str(tmp_path / "a.png"), "a")
    assert (empty["cells"], empty["foreground_fraction"], empty["mean_cell_area_px"]) == ("0", "0.000000", "")
    assert (full["width"], full["height"], full["slices"], full["cells"]) == ("20", "10", "1", "2")
    assert (full["foreground_fraction"], full["mean_cell_area_px"]) == ("0.140000", "14.00")
    assert (tmp_path / "out" / "b_cells.tif").is_file()


def test_summary_of_a_stack_labelled_slice_by_slice(tmp_path):
    pages = np.zeros((3, 10, 20), np.uint8)
    pages[:, 2:6, 3:6] = 255  # 12 px in every slice: three cells, not one column
    pages[2, 2:6, 10:15] = 255  # 20 px
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="minisblack")
    data = load(tmp_path / "a.tif")
    data["probability"] = data["image"] / 255
    data = ProbabilityToInstancesd("probability", "instances", spatial_dims=2, min_size=12)(data)
    written = SegmentationWriter(tmp_path / "out")(data)["output_files"]
    (row,) = table(tmp_path / "out" / "summary.csv")
    assert (row["slices"], row["cells"], row["mean_cell_area_px"]) == ("3", "4", "14.00")
    assert sorted(np.unique(tifffile.imread(written["cells"]))) == [0, 1, 2, 3, 4]


def test_one_stem_twice_gives_two_results_and_again_replaces_its_own(tmp_path):
    writer = SegmentationWriter(tmp_path / "out", overlays=False)
    names = ["x/a.png", "x/a.tif", "y/a.png", "z/a.tif", "x/a.png"]
    found = []
    for value, name in enumerate(names, start=1):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        array = np.full((4, 4), value, np.uint8)
        tifffile.imwrite(path, array) if name.endswith("tif") else Image.fromarray(array).save(path)
        data = load(path)
        data |= {"probability": data["image"] / 255, "instances": data["image"].to(int)}
        found.append(writer(data)["output_files"]["cells"])
    assert [f.rsplit("/", 1)[1] for f in found] == [
        "a_cells.tif",
        "a_tif_cells.tif",
        "a_png_cells.tif",
        "a_2_cells.tif",
        "a_cells.tif",
    ]
    assert [int(tifffile.imread(f).max()) for f in found] == [5, 2, 3, 4, 5]
    assert [row["output"] for row in table(tmp_path / "out" / "summary.csv")] == ["a", "a_tif", "a_png", "a_2", "a"]


def test_slices_loaded_alone_do_not_overwrite_one_another(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", positions(3, 5, 7).astype(np.uint8), photometric="minisblack")
    writer = SegmentationWriter(tmp_path / "out", overlays=False)
    for index in (1, 2):
        image = LoadSliced("image")({"image": str(tmp_path / "a.tif"), "slice": index})["image"]
        data = {"image": image, "probability": image / 255, "instances": image.to(int)}
        cells = writer(data)["output_files"]["cells"]
        assert cells.endswith(f"/out/a_000{index}_cells.tif")
        np.testing.assert_array_equal(tifffile.imread(cells), positions(3, 5, 7)[index])
    assert [row["file"] for row in table(tmp_path / "out" / "summary.csv")] == [str(tmp_path / "a.tif")] * 2


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path, monkeypatch):
    Image.fromarray(positions(5, 7).astype(np.uint8)).save(tmp_path / "a.png")
    before = Path(infer(tmp_path / "a.png", overlays=False)["cells"]).read_bytes()

    def half(path, *_, **__):
        path.write_bytes(b"half a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tifffile, "imwrite", half)
    with pytest.raises(OSError, match="No space left"):
        infer(tmp_path / "a.png")
    assert (tmp_path / "out" / "a_cells.tif").read_bytes() == before
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        *("a_cells.csv", "a_cells.tif", "a_probability.tif", "cells.csv", "summary.csv")
    ]


def test_an_output_folder_that_cannot_be_written_is_said_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"output_dir .*file.* cannot be written"):
        SegmentationWriter(tmp_path / "file")
    with pytest.raises(OSError, match=r"output_dir .*below.* cannot be written"):
        SegmentationWriter(tmp_path / "file" / "below")


def test_inputs_are_never_in_danger(tmp_path):
    for name in ("a.png", "a_cells.png"):
        Image.fromarray(positions(5, 7).astype(np.uint8)).save(tmp_path / name)
    data = load(tmp_path / "a.png")
    data |= {"probability": data["image"] / 255, "instances": data["image"].to(int)}
    with pytest.raises(ValueError, match=r"folder of the input images.*segmentation"):
        SegmentationWriter(tmp_path)(data)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "a_cells.png"]


def test_errors_name_what_is_wrong(tmp_path):
    Image.fromarray(positions(5, 7).astype(np.uint8)).save(tmp_path / "a.png")
    data = load(tmp_path / "a.png")
    writer = SegmentationWriter(tmp_path / "out")
    good = data | {"probability": data["image"] / 255, "instances": data["image"].to(int)}
    with pytest.raises(KeyError, match="'instances' is missing"):
        writer({k: v for k, v in good.items() if k != "instances"})
    with pytest.raises(ValueError, match="no filename_or_obj"):
        writer(good | {"image": data["image"].as_tensor()})
    with pytest.raises(ValueError, match=r"must both be 1HW or 1HWD, got \(1, 7, 5\) and \(1, 7, 4\)"):
        writer(good | {"instances": good["instances"][..., :4]})
    with pytest.raises(ValueError, match=r"size \(6, 5\), the image here \(7, 5\)"):
        writer(good | {k: good[k][:, :6] for k in ("probability", "instances")})
    good["image"].meta["filename_or_obj"] = "a.dcm"
    with pytest.raises(ValueError, match=r"a\.dcm.*must be one of \.png"):
        writer(good)


def test_slices_with_neighbours_in_further_channels_are_still_a_plain_stack(tmp_path):
    """ImageJ tells the slices of a stack of one channel by their position, those of a hyperstack by z."""
    tifffile.imwrite(tmp_path / "a.tif", positions(3, 5, 7).astype(np.uint8), photometric="minisblack")
    loaded = LoadSliced("image", spatial_dims=None)({"image": str(tmp_path / "a.tif")})
    image = StackContextd("image", 1)(loaded)["image"]
    assert len(image) == 3
    cells = torch.zeros(1, 7, 5, 3, dtype=torch.int32)
    cells[0, 1:4, 1:4, 2] = 1
    data = {"image": image, "probability": cells.float(), "instances": cells}
    written = SegmentationWriter(tmp_path / "out", overlays=False, export="rois")(data)["output_files"]
    (roi,) = roifile.roiread(written["rois"])
    assert (roi.position, roi.z_position) == (3, 0)


def test_a_link_gives_its_own_name_to_the_results(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "store/9f86d0", np.zeros((24, 30), np.uint8))  # a store by content has no suffixes
    for name in ("cellA.tif", "cellB.tif"):
        (tmp_path / "in" / name).symlink_to(tmp_path / "store/9f86d0")
    (tmp_path / "shown").symlink_to(tmp_path / "in")
    write = SegmentationWriter(tmp_path / "out", overlays=False)
    for name in ("cellA.tif", "cellB.tif"):
        image = LoadSliced(keys="image")({"image": str(tmp_path / "shown" / name)})["image"]
        data = {"image": image, "probability": np.zeros((1, 30, 24)), "instances": np.zeros((1, 30, 24), np.int32)}
        write(data)
    kinds = ("cells.csv", "cells.tif", "probability.tif")
    names = {f"{name}_{kind}" for name in ("cellA", "cellB") for kind in kinds}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*names, "cells.csv", "summary.csv"}
    rows = table(tmp_path / "out/summary.csv")
    assert [row["file"] for row in rows] == [str(tmp_path / "shown" / name) for name in ("cellA.tif", "cellB.tif")]
    with pytest.raises(ValueError, match="is the folder of the input images"):
        SegmentationWriter(tmp_path / "in")(data)


def test_a_name_that_is_no_text_is_written_as_it_came(tmp_path, monkeypatch):
    monkeypatch.setattr(writer._logger, "disabled", True)  # pytest-xdist cannot send such a name
    source = tmp_path / os.fsdecode(b"Zelle_\xfc.tif")
    tifffile.imwrite(source, np.arange(720, dtype=np.uint16).reshape(24, 30))
    image = LoadSliced(keys="image")({"image": str(source)})["image"]
    write = SegmentationWriter(tmp_path / "out", overlays=False)
    write({"image": image, "probability": np.zeros((1, 30, 24)), "instances": np.zeros((1, 30, 24), np.int32)})
    assert b"Zelle_\xfc.tif" in (tmp_path / "out/summary.csv").read_bytes()


def test_planes_and_volumes_of_one_run_have_their_values_below_their_names(tmp_path):
    def write(path, size, channels=1):
        (
            nib.save(nib.Nifti1Image(np.ones(size), np.eye(4)), path)
            if len(size) == 3
            else save_gray(path, size, channels)
        )
        data = load(path)
        if len(size) == 3:
            data["image"].meta[VOXEL_SPACING] = (1.0, 2.0, 3.0)
        data["probability"] = data["image"][:1] * 0.5
        data["instances"] = torch.ones_like(data["image"][:1]).to(int)
        to(data)

    to = SegmentationWriter(tmp_path / "out", overlays=False)
    to.made_by = lambda: {"network": "n"}
    write(tmp_path / "a.png", (5, 4))
    write(tmp_path / "b.nii.gz", (5, 4, 3))
    write(tmp_path / "c.png", (5, 4), 3)
    first, second, third = table(tmp_path / "out" / "summary.csv")
    assert (first["file"][-5:], first["network"], first["mean_cell_volume_um3"]) == ("a.png", "n", "")
    assert (second["network"], float(second["mean_cell_volume_um3"])) == ("n", 360)
    assert (first["mean_cell_voxels"], second["mean_cell_area_px"], second["mean_cell_voxels"]) == ("", "", "60.00")
    assert third["network"] == "n"
    plane, volume, colours = table(tmp_path / "out" / "cells.csv")
    assert (plane["area_px"], plane["voxels"], plane["slice"]) == ("20", "", "0")
    assert (volume["area_px"], volume["voxels"], float(volume["volume_um3"])) == ("", "60", 360)
    assert colours["area_px"] == "20"
    assert sum(name.startswith("mean_") and bool(value) for name, value in colours.items()) == 4  # 3 and probability


def save_gray(path, size, channels):
    values = positions(*size[::-1], channels).astype(np.uint8)
    Image.fromarray(values if channels > 1 else values[..., 0]).save(path)

"""Spacing from every kind of file, from a person, and what follows from it for a network."""

import logging

import nibabel as nib
import numpy as np
import pytest
import tifffile

from bundle.data.errors import ImageError, UnreadableImageError
from bundle.data.spacing import require_spacing, spacing_of, stated_spacing, warn_of_other_spacing
from bundle.data.synthetic import make_dataset
from bundle.geometry import flat_levels, isotropic_plane

VOLUME = np.zeros((4, 6, 5), np.uint8)  # slices, rows, columns


def written(folder, kind, spacing=(0.2, 0.3, 0.9)):
    x, y, z = spacing
    path = folder / f"a.{kind.removeprefix('ome.').removeprefix('imagej.').removeprefix('bare.')}"
    if kind == "ome.tif":
        sizes = {f"PhysicalSize{axis}": um for axis, um in zip("XYZ", spacing, strict=True)}
        tifffile.imwrite(path, VOLUME, ome=True, metadata={"axes": "ZYX", **sizes})
    elif kind == "imagej.tif":
        notes = {"axes": "ZYX", "unit": "um", "spacing": z}
        tifffile.imwrite(path, VOLUME, imagej=True, resolution=(1 / x, 1 / y), metadata=notes)
    elif kind == "bare.tif":
        tifffile.imwrite(path, VOLUME, resolution=(1e4 / x, 1e4 / y), resolutionunit="CENTIMETER")
    elif kind == "mha":
        import itk

        image = itk.image_from_array(VOLUME)
        image.SetSpacing([each / 1e3 for each in spacing])
        itk.imwrite(image, str(path))
    else:
        image = nib.Nifti1Image(VOLUME.T, np.diag([*(each / 1e3 for each in spacing), 1]))
        image.header.set_xyzt_units("mm")
        nib.save(image, path)
    return path


@pytest.mark.parametrize("kind", ["ome.tif", "imagej.tif", "nii.gz", "mha"])
def test_every_format_that_knows_it_states_its_spacing(kind, tmp_path):
    assert stated_spacing(written(tmp_path, kind)) == pytest.approx([0.2, 0.3, 0.9], rel=1e-5)


def test_a_file_that_is_no_meta_image_is_named(tmp_path):
    (tmp_path / "a.mha").write_bytes(b"none")
    with pytest.raises(UnreadableImageError, match=r"a\.mha: it is not an image of the kind its name says"):
        stated_spacing(tmp_path / "a.mha")


def test_resolution_tags_alone_say_nothing_of_slices(tmp_path, caplog):
    path = written(tmp_path, "bare.tif")
    assert stated_spacing(path) is None
    assert spacing_of([{"image": str(path)}]) == [1, 1, 1]
    assert "no file states its spacing: voxels are taken for cubes; others need --spacing" in caplog.text
    assert spacing_of([{"image": str(path)}], [1, 1, 3]) == [1, 1, 3]


def test_volumes_whose_spacing_differs_are_refused(tmp_path):
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    one, same, other = (
        written(folder, "imagej.tif", (0.2, 0.2, z)) for folder, z in zip(folders, (0.5, 0.52, 1.0), strict=True)
    )
    assert spacing_of([{"image": str(one)}, {"image": str(same)}]) == pytest.approx([0.2, 0.2, 0.5])
    items = [{"image": str(path)} for path in (one, same, other)]
    with pytest.raises(ImageError, match=r"0.2 x 0.2 x 1 µm, that of .*a.tif 0.2 x 0.2 x 0.5 µm: .* --spacing"):
        spacing_of(items)
    assert spacing_of(items, (1, 1, 2.5)) == [1, 1, 2.5]
    with pytest.raises(ImageError, match="its spacing is not stated"):
        spacing_of([items[0], {"image": str(written(tmp_path, "bare.tif"))}])


@pytest.mark.parametrize("spacing", [[1, 1], [1, 1, 0], "1 1 3", [1, 1, True], [1, 1, "3"]])
def test_a_spacing_that_is_none(spacing):
    with pytest.raises(ValueError, match="spacing must be three numbers above 0, x, y and z in µm or relative"):
        require_spacing(spacing)


def test_a_volume_unlike_those_of_the_training_is_mentioned(caplog):
    caplog.set_level(logging.WARNING)
    alike = [(None, [1, 1, 1]), ([0.2, 0.2, 0.5], [1, 1, 2.5]), ([0.2, 0.2, 0.5], [0.2, 0.2, 0.51])]
    for found, trained in (*alike, ([0.2, 0.2, 0.5], [7, 7])):  # at last slices, by a network of planes
        warn_of_other_spacing("a.tif", found, trained)
    assert not caplog.text
    warn_of_other_spacing("a.tif", [0.2, 0.2, 1.0], [1, 1, 2.5])
    assert "a.tif: its spacing is 0.2 x 0.2 x 1 µm, the network was trained at 1 x 1 x 2.5" in caplog.text
    caplog.clear()
    warn_of_other_spacing("a.tif", [0.4, 0.4, 1.0], [0.2, 0.2, 0.5])  # the same shape of another size
    assert "resample" in caplog.text


@pytest.mark.parametrize(
    ("spacing", "depth", "levels"),
    [
        ((1, 1, 1), 2, [0, 0, 0]),
        ((1, 1, 2), 2, [0, 0, 0]),  # more than twice, not twice
        ((1, 1, 2.01), 2, [0, 0, 1]),
        ((4, 4, 50), 4, [0, 0, 3]),
        ((4, 4, 50), 2, [0, 0, 3]),  # slice by slice
        ((5, 1, 1), 2, [2, 0, 0]),
        ((1, 3, 9), 4, [0, 1, 3]),
    ],
)
def test_levels_are_flat_while_the_spacing_is_more_than_twice_the_others(spacing, depth, levels):
    assert flat_levels(spacing, depth) == levels
    assert flat_levels([each * 0.37 for each in spacing], depth) == levels


def test_axes_that_may_be_turned_have_equal_spacing():
    assert isotropic_plane((1, 1.04, 9)) == (0, 1)
    assert isotropic_plane((1, 1.06, 9)) is None


def test_generated_volumes_touch_and_state_their_spacing(tmp_path):
    root = make_dataset(tmp_path / "set", 1, (40, 36, 16), 0, (0.5, 0.5, 1.0))
    assert make_dataset(root, 1, (40, 36, 16), 0, (0.5, 0.5, 1.0)) == root
    image, labels = (tifffile.imread(f"{root}/{kind}/000.tif") for kind in ("image", "label"))
    assert image.shape == labels.shape == (16, 40, 36)
    assert stated_spacing(f"{root}/image/000.tif") == pytest.approx([0.5, 0.5, 1.0])
    assert set(np.unique(labels)) == set(range(labels.max() + 1))
    assert labels.max() > 4
    touching = (labels[:, 1:] != labels[:, :-1]) & (labels[:, 1:] > 0) & (labels[:, :-1] > 0)
    assert touching.sum() > 20
    assert image[labels > 0].mean() > image[labels == 0].mean() + 40
    for size, spacing in (((40, 36, 8), None), ((70, 70), (1, 1, 1)), ((40, 36, 16), (1, 1))):
        with pytest.raises(ValueError, match=r"size must be|spacing is for volumes|spacing must be"):
            make_dataset(tmp_path / "other", 1, size, 0, spacing)

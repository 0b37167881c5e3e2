"""Packed volumes become stores that hold the same pixels; damaged ones are told, and leave nothing."""

import itk
import nibabel
import numpy as np
import pytest
import zarr
from ome_zarr_models.v05.image import Image

from bundle.data.errors import ImageError
from bundle.data.readers import read_image
from bundle.data.stores import open_lazily
from bundle.large import convert as module
from bundle.large.convert import convert, main

RANDOM = np.random.default_rng(0)


@pytest.fixture
def volumes(tmp_path):
    words = RANDOM.integers(0, 4000, (31, 22, 9)).astype(np.int16)  # x, y, z
    affine = np.diag([0.4, 0.4, 2, 1])
    nifti = nibabel.Nifti1Image(words, affine)
    nifti.header.set_xyzt_units("micron")
    nibabel.save(nifti, tmp_path / "a.nii.gz")
    scaled = nibabel.Nifti1Image(words, affine)
    scaled.header.set_slope_inter(0.5, 3)
    nibabel.save(scaled, tmp_path / "b.nii")
    itk.imwrite(itk.image_from_array(words.T.astype(np.uint16)), str(tmp_path / "c.mha"), compression=True)
    itk.imwrite(itk.image_from_array(words.T.astype(np.float32)), str(tmp_path / "d.mhd"), compression=True)
    colours = itk.image_from_array(RANDOM.integers(0, 255, (9, 22, 31, 3)).astype(np.uint8), is_vector=True)
    itk.imwrite(colours, str(tmp_path / "e.mha"), compression=False)
    itk.imwrite(itk.image_from_array(words.T[0].copy()), str(tmp_path / "f.mha"), compression=True)
    return tmp_path


@pytest.mark.parametrize("pixels", [1, 3000, 10**9])
@pytest.mark.parametrize("name", ["a.nii.gz", "b.nii", "c.mha", "d.mhd", "e.mha", "f.mha"])
def test_the_same_pixels(volumes, monkeypatch, name, pixels):
    monkeypatch.setattr(module, "_PIXELS", pixels)
    monkeypatch.setattr(module, "_SLICES", 2)
    store = convert(volumes / name, volumes / "out.ome.zarr")
    image = open_lazily(store)
    expected = np.asarray(read_image(str(volumes / name), np.dtype(np.float32)))
    assert image.size == expected.shape[1:]
    assert image.read([(0, n) for n in image.size]).tobytes() == np.ascontiguousarray(expected).tobytes()
    Image.from_zarr(zarr.open_group(store, mode="r"))
    if name == "a.nii.gz":
        assert image.spacing == pytest.approx((0.4, 0.4, 2))
        assert image.pixels.dtype == np.int16


def test_what_cannot_be_read_leaves_nothing(volumes, capsys):
    packed = (volumes / "a.nii.gz").read_bytes()
    (volumes / "cut.nii.gz").write_bytes(packed[: len(packed) // 2])
    (volumes / "cut.mha").write_bytes((volumes / "c.mha").read_bytes()[:-800])
    (volumes / "x.png").write_bytes(b"x")
    before = sorted(path.name for path in volumes.iterdir())
    for name, said in (
        ("cut.nii.gz", "its pixels are truncated or damaged"),
        ("cut.mha", "its pixels are truncated or damaged"),
        ("x.png", "NIfTI and MetaImage"),
        ("none.nii", "it does not exist"),
    ):
        with pytest.raises(SystemExit, match=said):
            main([str(volumes / name), str(volumes / "out.ome.zarr")])
    with pytest.raises(SystemExit, match=r"ends with \.zarr"):
        main([str(volumes / "a.nii.gz"), str(volumes / "out")])
    assert sorted(path.name for path in volumes.iterdir()) == before
    main([str(volumes / "a.nii.gz"), str(volumes / "out.ome.zarr"), "--ome_zarr", "0.4"])
    assert capsys.readouterr().out == f"{volumes}/out.ome.zarr\n"
    with pytest.raises(SystemExit, match="is there already"):
        main([str(volumes / "a.nii.gz"), str(volumes / "out.ome.zarr")])


def test_the_command_is_named_where_it_helps(volumes):
    with pytest.raises(ImageError, match=r"convert it, once: python -m bundle.large.convert .*a.nii.gz .*a.ome.zarr"):
        open_lazily(volumes / "a.nii.gz")

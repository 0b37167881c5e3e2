"""Names, and files that appear whole or not at all; what is in them is shown by the tests of the outputs."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest

from bundle.data.channel_names import StatedChannels
from bundle.data.load_slice import LoadSlice
from bundle.data.stated_channels import stated_channels
from bundle.output.formats import write_image


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"target must end in \.tif, \.nii\.gz or \.mha, got .*a\.jpg"):
        write_image(tmp_path / "a.jpg", np.zeros((2, 2), np.uint8), tmp_path / "b.jpg", {})


@pytest.mark.parametrize("shape", [(20, 12), (20, 12, 4)])
@pytest.mark.parametrize("name", ["a.tif", "a.nii.gz", "a.mha"])
def test_channels_come_back_in_their_order_and_with_their_names(tmp_path, name, shape):
    array = np.arange(3 * np.prod(shape), dtype=np.float32).reshape(3, *shape)
    meta = {"affine": np.diag([-2.0, -3, 4, 1]) if name != "a.tif" else np.eye(4)}
    write_image(tmp_path / name, array, tmp_path / "none", meta, ["a", "b", "c"])
    assert stated_channels(tmp_path / name) == StatedChannels(3, ("a", "b", "c") if name == "a.tif" else None)
    loaded = LoadSlice(spatial_dims=len(shape))(str(tmp_path / name))
    np.testing.assert_array_equal(loaded.numpy(), array)
    if name != "a.tif":
        np.testing.assert_allclose(np.diag(loaded.affine)[:2], [-2, -3])


@pytest.mark.parametrize("kept", [0, 100, -1])
def test_an_mha_that_itk_leaves_unfinished(tmp_path, monkeypatch, kept):
    """As on a disk that is just full, of which ITK says nothing where the file is small."""
    import itk

    def half(image, path, imwrite=itk.imwrite, **options):
        imwrite(image, path, **options)
        Path(path).write_bytes(Path(path).read_bytes()[:kept])

    monkeypatch.setattr(itk, "imwrite", half)
    target = tmp_path / "a.mha"
    with pytest.raises(OSError, match=rf"^{target} cannot be written \(only \d+ bytes of it were written\)$"):
        write_image(target, np.zeros((9, 7), np.uint8), tmp_path / "b.mha", {"affine": np.eye(4)})
    assert not list(tmp_path.iterdir())


def test_why_itk_cannot_write(tmp_path, monkeypatch):
    import itk

    def full(*_, **__):
        raise RuntimeError("ITK ERROR: File cannot be written\nReason: No space left on device")

    monkeypatch.setattr(itk, "imwrite", full)
    with pytest.raises(OSError, match=r"a\.mha cannot be written \(No space left on device\)$") as failed:
        write_image(tmp_path / "a.mha", np.zeros((9, 7), np.uint8), tmp_path / "b.mha", {"affine": np.eye(4)})
    assert failed.value.errno == errno.ENOSPC

"""LoadSlice(d): order, slices, types and what is refused; ReadableItems: one broken file costs only itself."""

from __future__ import annotations

import logging
import pickle
import weakref
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
import torch
from monai.data import DataLoader, MetaTensor
from monai.transforms import Compose, SaveImage
from PIL import Image
from torch.utils.data import default_collate

from bundle.console import own_cause
from bundle.data import folder
from bundle.data.channels import Channels
from bundle.data.errors import ImageError, UnreadableImageError
from bundle.data.load_slice import LoadSlice
from bundle.data.loading import LoadSliced
from bundle.data.readable_items import ReadableItems
from bundle.inference.voxel_spacing import VoxelSpacingd

GRAY = Channels(count=1)


def tiff(path: Path, array: np.ndarray, **options) -> str:
    tifffile.imwrite(path, array, photometric=options.pop("photometric", "minisblack"), **options)
    return str(path)


def test_image_and_label_as_monai_label_feeds_them(write_pair, position):
    root = write_pair("a")
    item = {"image": str(root / "image/a.tif"), "label": str(root / "label/a.tif")}
    loaded = LoadSliced(("image", "label"))(item)
    assert set(loaded) == {"image", "label"}
    assert item["image"].endswith("a.tif")
    assert (loaded["image"].dtype, loaded["label"].dtype) == (torch.float32, torch.int32)
    assert isinstance(loaded["image"], MetaTensor)
    assert isinstance(loaded["label"], MetaTensor)
    np.testing.assert_array_equal(loaded["image"].numpy(), position().T[None])
    np.testing.assert_array_equal(loaded["label"].numpy(), position().T[None] % 3)
    assert loaded["image"].meta["filename_or_obj"] == item["image"]
    assert set(LoadSliced(("image", "label"), allow_missing_keys=True)({"image": item["image"]})) == {"image"}
    with pytest.raises(KeyError, match="label"):
        LoadSliced(("image", "label"))({"image": item["image"]})


def test_slices_are_the_pages(stack, position):
    items = folder.images(stack)
    load = LoadSliced("image")
    for page, item in enumerate(items):
        loaded = load(item)
        np.testing.assert_array_equal(loaded["image"].numpy(), position(page=page).T[None])
        assert loaded["name"] == f"stack-{page}"


@pytest.mark.parametrize("pages", [1, 3])
def test_a_slice_is_a_copy(tmp_path, position, pages):
    """What is done to a slice in place must not reach the stack that is remembered."""
    path = tiff(tmp_path / "a.tif", np.stack([position(page=page) for page in range(pages)]))
    LoadSlice()(path, pages - 1).zero_()
    np.testing.assert_array_equal(LoadSlice()(path, pages - 1)[0].numpy(), position(page=pages - 1).T)


def test_affine_of_a_slice_is_where_it_lies(tmp_path):
    affine = np.array([[2.0, 0, 0, 5], [0, 3, 0, 6], [0, 0, 4, 7], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(np.random.RandomState(0).rand(6, 5, 4), affine), tmp_path / "v.nii")
    loaded = LoadSlice()(str(tmp_path / "v.nii"), 3)
    assert loaded.shape == (1, 6, 5)
    np.testing.assert_allclose(loaded.affine.numpy()[:3, 3], [5, 6, 7 + 3 * 4])
    np.testing.assert_array_equal(loaded.meta["spatial_shape"], [6, 5])


def test_results_of_a_stack_are_saved_under_different_names(stack, tmp_path):
    save = SaveImage(
        output_dir=tmp_path / "out", output_ext=".nii.gz", separate_folder=False, resample=False, print_log=False
    )
    for index in range(3):
        save(LoadSlice()(str(stack), index))
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_slices_of_one_stack_make_a_batch(stack):
    batch = next(iter(DataLoader([LoadSliced("image")(item) for item in folder.images(stack)], batch_size=5)))
    assert batch["image"].shape == (5, 1, 20, 12)


@pytest.mark.parametrize("shape", [(20, 12, 1), (20, 12, 1, 1)])
def test_nifti_of_one_slice_is_2d(tmp_path, position, shape):
    nibabel.save(nibabel.Nifti1Image(position().T.astype(np.int16).reshape(shape), np.eye(4)), tmp_path / "a.nii")
    np.testing.assert_array_equal(LoadSlice()(str(tmp_path / "a.nii"))[0].numpy(), position().T)


def test_a_volume_for_3d_and_for_whoever_asks(stack, position):
    volume = np.stack([position(page=page).T for page in range(5)], -1)
    for spatial_dims in (3, None):
        np.testing.assert_array_equal(LoadSlice(spatial_dims=spatial_dims)(str(stack))[0].numpy(), volume)


def test_a_stack_without_slice_says_what_to_do(stack):
    with pytest.raises(ImageError, match=r'stack\.tif: .*shape \(20, 12, 5\).*"slice" from 0 to 4.*spatial_dims to 3'):
        LoadSlice()(str(stack))


def test_an_image_where_a_volume_is_expected(tmp_path, position):
    with pytest.raises(ImageError, match=r"its shape is \(20, 12\), 2 axes where spatial_dims asks for 3"):
        LoadSlice(spatial_dims=3)(tiff(tmp_path / "a.tif", position()))


def test_slices_that_are_stored_as_channels_are_no_volume(tmp_path):
    tifffile.imwrite(tmp_path / "a.ome.tif", np.zeros((5, 12, 20), np.uint16))  # axes are not said, and so CYX
    with pytest.raises(ImageError, match=r"2 axes where .* 3; if its 5 channels are slices, save them so"):
        LoadSlice(spatial_dims=3)(str(tmp_path / "a.ome.tif"))


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif"])
def test_time_points_with_slices_are_no_volume(tmp_path, name):
    pixels = np.arange(3 * 4 * 12 * 20, dtype=np.uint16).reshape(3, 4, 12, 20)
    film = str(tmp_path / name)
    tifffile.imwrite(film, pixels, imagej=name == "a.tif", metadata={"axes": "TZYX"})
    told = r"3 time points of 4 slices, which would count as one volume of 12: save each time point by itself"
    with pytest.raises(ImageError, match=told):
        LoadSlice(spatial_dims=3)(film)
    with pytest.raises(ImageError, match=told):  # of cells that are linked through slices, too
        VoxelSpacingd("image")({"image": LoadSlice(spatial_dims=None)(film)})
    assert LoadSlice()(film, 11).shape == (1, 20, 12)  # as planes they go one by one
    tifffile.imwrite(film, pixels[0], imagej=name == "a.tif", metadata={"axes": "TYX"})
    assert LoadSlice(spatial_dims=3)(film).shape == (1, 20, 12, 4)


@pytest.mark.parametrize("index", [-1, 5])
def test_a_slice_that_is_not_there(stack, index):
    with pytest.raises(ImageError, match=rf"it has no slice {index}: its slices are 0 to 4"):
        LoadSlice()(str(stack), index)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_gray_stored_as_colour_is_gray(tmp_path, position, mode, name):
    gray = (position() % 250).astype(np.uint8)
    Image.fromarray(gray).convert(mode).save(tmp_path / name)
    np.testing.assert_array_equal(LoadSlice(channels=GRAY)(str(tmp_path / name)).numpy(), gray.T[None])
    assert LoadSlice(channels=Channels(count=3))(str(tmp_path / name)).shape == (3, 20, 12)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_true_colour(tmp_path, position, mode, name):
    colours = np.stack([position() % 7, position() % 11, position() % 13], -1).astype(np.uint8) * 10
    Image.fromarray(colours).convert(mode).save(tmp_path / name)
    path = str(tmp_path / name)
    with pytest.raises(
        ImageError, match=r"3 channels \(red, green, blue\), the network expects 1: add --channels lumi"
    ):
        LoadSlice(channels=GRAY)(path)
    np.testing.assert_array_equal(LoadSlice()(path).numpy(), colours.transpose(2, 1, 0))
    expected = (colours @ np.array([0.299, 0.587, 0.114])).T
    np.testing.assert_allclose(LoadSlice(channels="luminance")(path)[0].numpy(), expected, rtol=1e-5)
    with pytest.raises(ImageError, match="it is a colour picture, a label map has one channel"):
        LoadSlice(label=True, channels="luminance")(path)


def test_pixels_that_are_not_finite(tmp_path, position):
    array = position().astype(np.float32)
    array[3, 5] = np.nan
    array[7, 9] = np.inf
    with pytest.raises(ImageError, match=r"a\.tif: 2 of its pixels are NaN or infinite, first at \(0, 5, 3\)"):
        LoadSlice()(tiff(tmp_path / "a.tif", array))


def test_a_constant_image_is_mentioned(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        LoadSlice()(tiff(tmp_path / "a.tif", np.full((4, 5), 7, np.uint8)))
    assert "a.tif: all its pixels are 7" in caplog.text
    caplog.clear()
    LoadSlice(label=True)(tiff(tmp_path / "empty-label.tif", np.zeros((4, 5), np.uint8)))
    assert caplog.text == ""


def test_labels_that_are_no_labels(tmp_path):
    array = np.zeros((4, 5), np.float32)
    array[1, 2] = 0.5
    with pytest.raises(ImageError, match=r"whole numbers below 2\^31, but 1 of .*first 0\.5 at \(0, 2, 1\)"):
        LoadSlice(label=True)(tiff(tmp_path / "a.tif", array))
    array[1, 2] = np.nan
    with pytest.raises(ImageError, match="first nan at"):
        LoadSlice(label=True)(tiff(tmp_path / "a.tif", array))
    with pytest.raises(ImageError, match=r"whole numbers below 2\^31"):
        LoadSlice(label=True)(tiff(tmp_path / "a.tif", np.full((4, 5), 2**31, np.uint32)))
    with pytest.raises(ImageError, match="its smallest label is -2; allowed are -1"):
        LoadSlice(label=True)(tiff(tmp_path / "a.tif", np.full((4, 5), -2, np.int16)))


def test_labels_keep_every_number(tmp_path):
    array = np.array([[-1, 0, 1], [65535, 2**24 + 1, 2**31 - 1]], np.int32)
    loaded = LoadSlice(label=True)(tiff(tmp_path / "a.tif", array))
    np.testing.assert_array_equal(loaded[0].numpy(), array.T)


def test_image_and_label_of_different_size(write_pair):
    root = write_pair("a", label=np.zeros((12, 19), np.uint8))
    with pytest.raises(ImageError, match=r"label/a\.tif: .*image \(20, 12\) and label \(19, 12\) of .*image/a\.tif"):
        LoadSliced(("image", "label"))({"image": str(root / "image/a.tif"), "label": str(root / "label/a.tif")})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": "gray"}, "channels must be all, luminance .* got 'gray': give --channels luminance"),
        ({"channels": 2}, r'got 2: .* or --channels "\[2\]"'),
        ({"channels": []}, "channels must be all"),
        ({"channels": [0, -1]}, "channels must be all"),
        ({"channels": [True]}, "channels must be all"),
        ({"spatial_dims": 4}, "spatial_dims must be 2, 3 or None, got 4"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        LoadSliced("image", **arguments)


def test_error_survives_pickling():
    error = pickle.loads(pickle.dumps(UnreadableImageError("a.tif", "it is empty")))
    assert (type(error), error.path, str(error)) == (UnreadableImageError, "a.tif", "a.tif: it is empty")
    assert isinstance(error, ImageError)
    assert isinstance(error, ValueError)


@pytest.fixture
def mixed(tmp_path, position):
    """a good, b empty, c of colours, d good, e not a number."""
    tiff(tmp_path / "a.tif", position())
    (tmp_path / "b.tif").write_bytes(b"")
    tiff(tmp_path / "c.tif", np.stack([position() % 7, position() % 5, position() % 3], -1), photometric="rgb")
    tiff(tmp_path / "d.tif", position(page=1))
    tiff(tmp_path / "e.tif", np.full((4, 5), np.nan, np.float32))
    return tmp_path


def test_two_files_of_one_name_are_left_out_and_the_rest_go_on(tmp_path, position):
    tiff(tmp_path / "a.tif", position())
    Image.fromarray(position().astype(np.uint8)).save(tmp_path / "a.png")
    for number in range(3):
        tiff(tmp_path / f"b{number}.tif", position(page=number))
    dataset = ReadableItems(folder.images(tmp_path), Compose([LoadSliced("image")]))
    assert len(list(dataset)) == 3
    with pytest.raises(RuntimeError, match=r"2 of 5 images .*a\.png \(its results .* those of .*a\.tif: rename one"):
        dataset.finish(lambda: list(dataset))


def test_unreadable_items_are_noted_and_the_rest_go_on(mixed, position, caplog):
    dataset = ReadableItems(folder.images(mixed), Compose([LoadSliced("image", channels=GRAY)]))
    loader = DataLoader(dataset, batch_size=1, num_workers=0)
    for _ in range(2):  # a second pass starts a new list
        images = [batch["image"][0, 0].numpy() for batch in loader]
        np.testing.assert_array_equal(images, [position().T, position(page=1).T])
        assert [Path(path).name for path, _ in dataset.failed] == ["b.tif", "c.tif", "e.tif"]
        assert [
            word
            for word, (_, reason) in zip(["empty", "3 channels", "NaN"], dataset.failed, strict=True)
            if word in reason
        ] == ["empty", "3 channels", "NaN"]
    assert sum("skipped" in record.message for record in caplog.records) == 6
    with pytest.raises(RuntimeError, match=r"3 of 5 images could not be used: .*b\.tif .*c\.tif .*e\.tif"):
        dataset.finish(lambda: list(dataset))


def test_nothing_failed(tmp_path, position):
    tiff(tmp_path / "a.tif", position())
    dataset = ReadableItems(folder.images(tmp_path), LoadSliced("image"))
    assert len(list(dataset)) == 1
    dataset.finish(lambda: list(dataset))


class _Wrapped(RuntimeError):
    """As MONAI wraps what a transform raises."""


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(28, "No space left on device", "out/d_cells.tif"), r"No space left on device \(out/d_cells\.tif\)"),
        (MemoryError(), r"not enough memory \(MemoryError\)"),
        (MemoryError("max_memory 2 MiB is not enough for an image"), "max_memory 2 MiB is not enough"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), "not enough memory .*allocate"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), "not enough memory .*CUDA out of memory"),
    ],
)
def test_what_a_shortage_leaves_undone_is_named(mixed, error, told):
    dataset = ReadableItems(folder.images(mixed), Compose([LoadSliced("image", channels=GRAY)]))

    def work():
        for item in dataset:
            if item["image"].meta["filename_or_obj"].endswith("d.tif"):
                raise _Wrapped("applying transform") from error

    rest = r"It and 1 left of 5 \(.*e\.tif\) are not done, .* skipped before: .*b\.tif"
    with pytest.raises(RuntimeError, match=rf"stopped at .*d\.tif: {told}.* {rest}") as caught:
        dataset.finish(work)
    assert own_cause(caught.value) is caught.value


def test_other_errors_and_those_before_the_first_image_pass(mixed):
    dataset = ReadableItems(folder.images(mixed), LoadSliced("image"))
    for error in (FileNotFoundError(2, "No such file", "model.pt"), KeyError("x")):
        with pytest.raises(type(error)):
            dataset.finish(lambda error=error: (_ for _ in ()).throw(error))


def test_an_item_is_not_kept(tmp_path, position):
    for name in "ab":
        tiff(tmp_path / f"{name}.tif", position())
    items = iter(ReadableItems(folder.images(tmp_path), LoadSliced("image")))
    image = weakref.ref(next(items)["image"])
    assert image() is None


def test_a_defect_of_a_transform_is_not_skipped(mixed):
    def defect(item):
        return item["image"].no_such_method()

    dataset = ReadableItems(folder.images(mixed), Compose([LoadSliced("image"), defect]))
    with pytest.raises(RuntimeError, match="applying transform") as caught:
        list(dataset)
    assert isinstance(caught.value.__cause__, AttributeError)


def test_workers_would_lose_the_notes(mixed):
    dataset = ReadableItems(folder.images(mixed), LoadSliced("image"))
    with pytest.raises(ValueError, match="set num_workers to 0"):
        list(torch.utils.data.DataLoader(dataset, num_workers=1, collate_fn=default_collate))


@pytest.mark.parametrize("quality", [75, 95])
def test_a_label_that_jpeg_has_changed_is_refused(quality, tmp_path):
    x, y = np.mgrid[:40, :40]
    mask = np.where(np.hypot(x - 20, y - 20) < 9, 255, 0).astype(np.uint8)
    Image.fromarray(mask).save(tmp_path / "m.jpg", quality=quality)
    with pytest.raises(ImageError, match=r"m\.jpg.*JPEG has changed its label numbers.*save labels as PNG or TIFF"):
        LoadSlice(label=True)(str(tmp_path / "m.jpg"))
    Image.fromarray(mask).convert("RGB").save(tmp_path / "colour.jpg", quality=quality)
    for colours in (None, "foreground", "cells"):
        with pytest.raises(ImageError, match=r"colour\.jpg.*JPEG has changed its label numbers"):
            LoadSlice(label=True, label_colours=colours)(str(tmp_path / "colour.jpg"))
    packed = tiff(tmp_path / "m.tif", mask, compression="jpeg", compressionargs={"level": quality})
    with pytest.raises(ImageError, match=r"m\.tif.*JPEG has changed its label numbers"):
        LoadSlice(label=True)(packed)
    Image.fromarray(0 * mask).save(tmp_path / "none.jpg")
    assert int(LoadSlice(label=True)(str(tmp_path / "none.jpg")).max()) == 0


def test_a_fourth_channel_of_fluorescence_is_no_opacity(tmp_path):
    channels = np.random.RandomState(0).randint(0, 9, (4, 30, 40), np.uint16)
    tifffile.imwrite(tmp_path / "a.ome.tif", channels, metadata={"axes": "CYX"}, photometric="minisblack")
    assert LoadSlice()(str(tmp_path / "a.ome.tif")).shape == (4, 40, 30)
    with pytest.raises(ImageError, match="it has 4 channels, luminance is of red, green and blue"):
        LoadSlice(channels="luminance")(str(tmp_path / "a.ome.tif"))


@pytest.mark.parametrize("slices", [1, 3])
def test_axes_of_image_and_label_that_run_apart(tmp_path, slices, caplog):
    pixels = np.arange(5 * 4 * slices, dtype=np.int16).reshape(5, 4, slices)
    flipped = np.diag([-2.0, 2.0, 3.0, 1.0])
    for name, affine in {"image": np.diag([2.0, 2.0, 3.0, 1.0]), "flipped": flipped, "unknown": np.eye(4)}.items():
        nibabel.save(nibabel.Nifti1Image(pixels, affine), tmp_path / f"{name}.nii.gz")
    load = LoadSliced(("image", "label"), spatial_dims=3 if slices > 1 else 2)
    image = str(tmp_path / "image.nii.gz")
    with pytest.raises(ImageError, match=r"axes run to LAS .* those of .*image.nii.gz to RAS: the same pixel"):
        load({"image": image, "label": str(tmp_path / "flipped.nii.gz")})
    assert caplog.text == ""
    loaded = load({"image": str(tmp_path / "flipped.nii.gz"), "label": str(tmp_path / "unknown.nii.gz")})
    np.testing.assert_array_equal(loaded["label"], loaded["image"])
    assert "one affine is the identity and tells nothing" in caplog.text
    tiff(tmp_path / "label.tif", pixels[..., 0].T)  # a format that tells no directions goes with any
    if slices == 1:
        load({"image": str(tmp_path / "flipped.nii.gz"), "label": str(tmp_path / "label.tif")})

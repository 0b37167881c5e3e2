"""Files become items: pairing, slices, order, and what is refused."""

from __future__ import annotations

import logging
import unicodedata
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image

from bundle.data import LAYOUTS, Layout, datalist, folder
from tests.data.test_stores import write_store


def save(path: Path, array: np.ndarray) -> Path:
    """Write numpy's (rows, columns) or (pages, rows, columns) in the format of the extension."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith((".nii", ".nii.gz")):
        nibabel.save(nibabel.Nifti1Image(array.T.astype(np.int16), np.eye(4)), path)
    elif path.suffix == ".tif":
        tifffile.imwrite(path, array, photometric="minisblack")
    elif path.suffix == ".mha":
        import itk

        itk.imwrite(itk.image_from_array(array), str(path))
    else:
        Image.fromarray(array.astype(np.uint8)).save(path)
    return path


def test_pairs_by_stem_whatever_the_extension(tmp_path, position):
    for name in ("a.png", "b.tif", "c.nii.gz", "d.bmp", "e.jpg", "f.mha", "g.PNG"):
        save(tmp_path / "image" / name, position())
    for name in ("a.tif", "b.nii", "c.png", "d.png", "e.png", "f.png", "g.tif"):
        save(tmp_path / "label" / name, position())
    (tmp_path / "image" / "Thumbs.db").write_text("x")
    (tmp_path / "image" / "._a.png").write_text("x")
    items = folder.datalist(tmp_path)
    assert [item["name"] for item in items] == list("abcdefg")
    assert items[2] == {
        "image": str(tmp_path / "image/c.nii.gz"),
        "label": str(tmp_path / "label/c.png"),
        "name": "c",
    }


def test_names_are_equal_however_their_accents_are_spelt(tmp_path, position):
    """As macOS writes them, and all others; both look the same."""
    names = [unicodedata.normalize(form, "Zelle größe") for form in ("NFC", "NFD")]
    save(tmp_path / "image" / f"{names[0]}.png", position())
    save(tmp_path / "label" / f"{names[1]}.png", position())
    assert [item["name"] for item in folder.datalist(tmp_path)] == names[:1]
    assert [item["name"] for item in folder.images(tmp_path / "label")] == names[:1]
    (tmp_path / "label" / f"{names[1]}.png").unlink()
    (tmp_path / "label" / f"{names[1]}.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    assert [item["name"] for item in folder.datalist(tmp_path)] == names[:1]


def test_natural_order(write_pair):
    for name in ("t10", "t9", "t100"):
        root = write_pair(name)
    assert [item["name"] for item in folder.datalist(root)] == ["t9", "t10", "t100"]


@pytest.mark.parametrize("kind", [".tif", ".nii.gz", ".mha"])
def test_slices_of_stacks_and_volumes(tmp_path, position, kind):
    array = np.stack([position(page=page) for page in range(11)])
    save(tmp_path / "image" / f"v{kind}", array)
    save(tmp_path / "label" / "v.tif", (array % 2).astype(np.uint8))
    items = folder.datalist(tmp_path)
    assert [item["slice"] for item in items] == list(range(11))
    assert [items[0]["name"], items[10]["name"]] == ["v-00", "v-10"]
    assert folder.datalist(tmp_path, slices=False) == [
        {"image": str(tmp_path / f"image/v{kind}"), "name": "v", "label": str(tmp_path / "label/v.tif")}
    ]


def test_a_volume_of_one_slice_is_an_image(tmp_path, position):
    save(tmp_path / "v.nii", position()[None])
    assert folder.images(tmp_path / "v.nii") == [{"image": str(tmp_path / "v.nii"), "name": "v"}]


def test_other_folder_names_and_missing_labels(tmp_path, position):
    for name in ("a", "b"):
        save(tmp_path / "raw" / f"{name}.png", position())
    save(tmp_path / "truth" / "b.png", position())
    with pytest.raises(ValueError, match=r"1 image has no label of the same name in .*truth: a"):
        folder.datalist(tmp_path, "raw", "truth")
    (tmp_path / "raw" / "a.png").unlink()
    assert [item["name"] for item in folder.datalist(tmp_path, "raw", "truth")] == ["b"]


def test_lonely_files_are_counted_and_five_are_named(tmp_path, position):
    save(tmp_path / "image" / "x.png", position())
    for n in range(7):
        save(tmp_path / "label" / f"l{n}.png", position())
    save(tmp_path / "label" / "x.png", position())
    with pytest.raises(
        ValueError, match=r"7 labels have no image .*: l0, l1, l2, l3, l4 and 2 more; put the images there"
    ):
        folder.datalist(tmp_path)


def test_labels_that_are_called_otherwise_are_named(tmp_path, position):
    for n in range(3):
        save(tmp_path / "image" / f"00{n}.png", position())
        save(tmp_path / "label" / f"00{n}_mask.png", position())
    with pytest.raises(ValueError, match=r"3 images have no label .*; 000_mask\.png seems to belong to 000\.png: give"):
        folder.datalist(tmp_path)
    for n in range(2):
        (tmp_path / "label" / f"00{n}_mask.png").rename(tmp_path / "label" / f"00{n}.png")
    with pytest.raises(ValueError, match=r"1 image has no label .*: 002; 002_mask\.png seems to belong to 002\.png"):
        folder.datalist(tmp_path)
    (tmp_path / "label" / "002_mask.png").unlink()
    with pytest.raises(
        ValueError, match=r"1 image has no label .*: 002; annotate it \(one without cells needs a label"
    ):
        folder.datalist(tmp_path)


def test_images_that_lie_in_the_folder_itself(tmp_path, position):
    save(tmp_path / "a.png", position())
    with pytest.raises(
        FileNotFoundError, match=rf"no folder {tmp_path}/image; {tmp_path} itself holds images: move them"
    ):
        folder.datalist(tmp_path)


def test_two_images_of_one_stem(tmp_path, position):
    save(tmp_path / "image" / "a.png", position())
    save(tmp_path / "image" / "a.tif", position())
    with pytest.raises(
        ValueError, match=r"image holds two files of one name, a\.png and a\.tif, .*: remove or rename one"
    ):
        folder.datalist(tmp_path)


def test_the_folder_of_images_instead_of_that_of_both_is_answered_by_it(tmp_path):
    for kind in ("image", "label"):
        (tmp_path / kind).mkdir()
        tifffile.imwrite(tmp_path / kind / "a.tif", np.zeros((4, 4), np.uint8))
    for kind in ("image", "label"):
        with pytest.raises(FileNotFoundError, match=rf"did you mean {tmp_path}\?$"):
            folder.datalist(tmp_path / kind)


def test_a_misspelt_image_to_segment_is_answered_by_what_is_there(tmp_path, position):
    save(tmp_path / "image1.tif", position())
    with pytest.raises(FileNotFoundError, match=rf"image2\.tif does not exist; did you mean {tmp_path}/image1\.tif\?$"):
        folder.images(tmp_path / "image2.tif")
    with pytest.raises(FileNotFoundError, match=rf"xyz does not exist; {tmp_path} holds images: give this folder"):
        folder.images(tmp_path / "xyz")


def test_a_store_beside_its_source(write_pair):
    root = write_pair("a")
    write_store(root / "image" / "a.ome.zarr", [np.zeros((12, 20), np.uint8)], "yx")
    with pytest.raises(ValueError, match=r"image holds two files of one name, a\.tif and a\.ome\.zarr, .*: remove"):
        folder.datalist(root)


def test_a_file_that_takes_the_name_of_a_page(tmp_path, position):
    for kind in ("image", "label"):
        save(tmp_path / kind / "a.tif", np.stack([position(), position()]))
        save(tmp_path / kind / "a-1.tif", position())
    with pytest.raises(ValueError, match=r"a.*\.tif and .*a.*\.tif both give the name a-1"):
        folder.datalist(tmp_path)


def test_files_of_kinds_that_are_not_read_are_named_once(tmp_path, position, caplog):
    for number in range(7):
        (tmp_path / f"film{number}.czi").write_bytes(b"x")
    for other in ("notes.txt", "Thumbs.db"):
        (tmp_path / other).write_text("x")
    with pytest.raises(
        FileNotFoundError, match=r"film0\.czi, .*film4\.czi and 2 more must be converted: save them as TIFF"
    ):
        folder.images(tmp_path)
    save(tmp_path / "a.tif", position())
    with caplog.at_level(logging.WARNING):
        assert len(folder.images(tmp_path)) == 1
    assert len(caplog.records) == 1
    assert "7 files are of kinds that are not read: film0.czi, film1.czi" in caplog.text
    assert "notes" not in caplog.text


def test_label_with_other_number_of_slices(write_pair, position):
    root = write_pair("s", image=np.stack([position()] * 3), label=np.zeros((2, 12, 20), np.uint8))
    with pytest.raises(ValueError, match=r"s\.tif: it has 2 slices, its image .* has 3 of 20 x 12 px: .* all -1 where"):
        folder.datalist(root)
    save(root / "label" / "s.tif", np.zeros((12, 20), np.uint8))
    with pytest.raises(ValueError, match=r"it has 1 slice, its image"):
        folder.datalist(root)


@pytest.mark.parametrize("layout", ["auto", "folder"])
def test_missing_empty_and_unreadable(tmp_path, layout):
    with pytest.raises(FileNotFoundError, match=r"is no folder; layouts understood are isbi2012: .*folder: image/"):
        datalist(tmp_path / "nowhere", layout)
    with pytest.raises(FileNotFoundError, match=rf"is no folder; did you mean {tmp_path}\?; layouts understood"):
        datalist(f"{tmp_path}s", layout)
    with pytest.raises(FileNotFoundError, match="is empty; layouts understood"):
        datalist(tmp_path, layout)
    (tmp_path / "image").mkdir()
    (tmp_path / "image" / "a.czi").write_text("x")
    with pytest.raises(FileNotFoundError, match=r"holds no image; readable are \.tif, .*\.nii\.gz.*layouts understood"):
        datalist(tmp_path, layout)


@pytest.mark.parametrize("root", ["", None])
def test_no_dataset_dir(root):
    with pytest.raises(FileNotFoundError, match=r"dataset_dir .* is no folder"):
        datalist(root)


def test_images_of_a_file_a_folder_and_a_root(tmp_path, position):
    file = save(tmp_path / "image" / "a.tif", position())
    expected = [{"image": str(file), "name": "a"}]
    assert folder.images(file) == folder.images(tmp_path / "image") == folder.images(tmp_path) == expected
    save(tmp_path / "top.png", position())
    assert [item["name"] for item in folder.images(tmp_path)] == ["top"]
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ValueError, match=r"notes\.txt: its extension is none of \.tif"):
        folder.images(tmp_path / "notes.txt")
    with pytest.raises(FileNotFoundError, match=r"nowhere does not exist; .* holds images"):
        folder.images(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        folder.images(tmp_path / "nowhere" / "deeper")


def test_images_in_folders_of_a_folder_are_told(tmp_path, position):
    for day in ("day10", "day9"):
        save(tmp_path / "image" / day / "a.tif", position())
    for read in (folder.datalist, folder.images):
        with pytest.raises(FileNotFoundError, match=rf"those in day9, day10 .* put all into {tmp_path}/image "):
            read(tmp_path)


def test_a_missing_folder_is_told_with_those_that_may_be_meant(tmp_path, position):
    data = tmp_path / "new_images"
    for name in ("pictures", "masks"):
        save(data / name / "a.tif", position())
    with pytest.raises(FileNotFoundError, match=rf"no folder {data}/image; {data} has masks, pictures$"):
        folder.datalist(data)
    with pytest.raises(FileNotFoundError, match=rf"no folder {tmp_path}/new_image/image; did you mean {data}\?$"):
        folder.datalist(tmp_path / "new_image")
    (data / "pictures").rename(data / "images")
    with pytest.raises(FileNotFoundError, match=rf"no folder {data}/image; did you mean {data}/images\?$"):
        folder.datalist(data)
    with pytest.raises(FileNotFoundError, match=r"no folder /nowhere/at/all/image$"):
        folder.datalist("/nowhere/at/all")


def test_a_broken_file_is_listed_so_that_the_others_go_on(tmp_path, position):
    save(tmp_path / "a.tif", position())
    (tmp_path / "b.tif").write_bytes(b"")
    assert [item["name"] for item in folder.images(tmp_path)] == ["a", "b"]


def test_unknown_layout(tmp_path):
    with pytest.raises(ValueError, match="layout must be one of auto, isbi2012, ctc, folder"):
        datalist(tmp_path, "ctc2")


def test_another_layout_takes_one_line(tmp_path, monkeypatch):
    (tmp_path / "here.mark").write_text("")
    found = [{"image": "x", "name": "x"}]
    own = Layout(lambda root, scale=1: found * scale, lambda root: (root / "here.mark").exists(), "here.mark")
    monkeypatch.setitem(LAYOUTS, "own", own)
    assert datalist(tmp_path, "own", scale=2) == found * 2


def test_a_link_to_nothing_is_in_the_list_so_that_its_reader_says_so(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((8, 8), np.uint8))
    (tmp_path / "b.tif").symlink_to(tmp_path / "gone" / "b.tif")
    assert [item["name"] for item in folder.images(tmp_path, slices=False)] == ["a", "b"]

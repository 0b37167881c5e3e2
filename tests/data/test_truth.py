"""Image and truth of an item as files have them, for every kind of truth."""

import json

import numpy as np
import pytest
import tifffile
from PIL import Image

from bundle.data import folder
from bundle.data.class_counts import class_pixels, class_weights, warn_of_absent_classes
from bundle.data.classes import Classes, classes_of_data
from bundle.data.errors import ImageError
from bundle.data.truth import LoadTruthd, read_class_table
from transforms import LabelToClassedInstancesd, SeparateTouchingd

NAMES = ["ground", "a", "b"]
#: rows and columns, not square
CLASSES = np.array([[0, 1, 1, 0, 2], [0, 1, 0, 0, 2], [2, 0, 0, 1, 1]], np.uint8)
INSTANCES = np.array([[0, 4, 4, 0, 7], [0, 4, 0, 0, 7], [9, 0, 0, 2, 2]], np.uint16)


@pytest.fixture
def data(tmp_path):
    for name in ("image", "label", "class"):
        (tmp_path / name).mkdir()
    tifffile.imwrite(tmp_path / "image" / "x.tif", np.arange(15, dtype=np.uint8).reshape(3, 5))
    (tmp_path / "classes.json").write_text(json.dumps(NAMES))
    return tmp_path


def loaded(data, **options):
    classes = classes_of_data(data, **options)
    (item,) = folder.datalist(data)
    return LoadTruthd(["image", "label"], classes=classes)(item), classes


def finished(data, **options):
    item, classes = loaded(data, **options)
    item = LabelToClassedInstancesd("label", classes.label_kind, class_names=classes.names)(item)
    return np.asarray(item["class_of"])[np.maximum(np.asarray(item["label"][0]), 0)].T, item


def test_classes_of_pixels_from_gray_values_and_colours(data):
    (data / "class").rmdir()
    tifffile.imwrite(data / "label" / "x.tif", CLASSES)
    np.testing.assert_array_equal(finished(data)[0], CLASSES)
    tifffile.imwrite(data / "label" / "x.tif", np.array([0, 64, 191], np.uint8)[CLASSES])
    np.testing.assert_array_equal(finished(data, class_names={"g": 0, "a": [63, 64], "b": 191})[0], CLASSES)
    (data / "label" / "x.tif").unlink()
    colours = {"g": [0, 0, 0], "a": [255, 0, 0], "b": [0, 128, 255]}
    picture = np.array(list(colours.values()), np.uint8)[CLASSES]
    for file, mode in (("x.png", "RGB"), ("x.bmp", "RGB"), ("x.png", "RGBA")):
        Image.fromarray(picture).convert(mode).save(data / "label" / file)
        np.testing.assert_array_equal(finished(data, class_names=colours)[0], CLASSES)
        (data / "label" / file).unlink()
    Image.fromarray(picture).save(data / "label" / "x.png")
    with pytest.raises(ImageError, match=r"x.png: its pixels hold values without a class: \[0, 0, 0\]"):
        loaded(data)


def test_instances_with_a_class_map_or_a_table(data):
    tifffile.imwrite(data / "label" / "x.tif", INSTANCES)
    with pytest.raises(ImageError, match="no class map and no table of the same name in the folder class/"):
        loaded(data)
    tifffile.imwrite(data / "class" / "x.tif", CLASSES)
    kinds, item = finished(data)
    np.testing.assert_array_equal(kinds, CLASSES)
    assert set(np.unique(item["label"])) == {0, 1, 2, 3, 4}
    assert item.keys() == {"image", "label", "name", "class_of"}
    (data / "class" / "x.csv").write_text("instance,class\n4,a\n7,2\n9,B\n2,a\n")
    with pytest.raises(ValueError, match="two files of the name 'x'"):
        loaded(data)
    (data / "class" / "x.tif").unlink()
    np.testing.assert_array_equal(finished(data)[0], CLASSES)
    item, _ = loaded(data, truth="instances")
    assert item.keys() == {"image", "label", "name"}
    np.testing.assert_array_equal(item["label"][0].T, INSTANCES)


def test_a_class_map_of_another_size_or_number_of_slices_is_refused(data):
    tifffile.imwrite(data / "label" / "x.tif", INSTANCES)
    tifffile.imwrite(data / "class" / "x.tif", CLASSES[:2])
    with pytest.raises(ImageError, match=r"its size \(x, y\) is \(5, 2\) px, that of its label"):
        loaded(data)
    tifffile.imwrite(data / "class" / "x.tif", np.stack([CLASSES] * 2), photometric="minisblack")
    with pytest.raises(ImageError, match=r"it has 2 slices, its image .* has 1"):
        folder.datalist(data)


def test_segments_have_values_of_their_own(data):
    (data / "class").rmdir()
    tifffile.imwrite(data / "label" / "x.tif", np.array([0, 5, 3], np.uint8)[CLASSES])
    classes = classes_of_data(data)
    (item,) = folder.datalist(data)
    item["segments"] = {"A": 5, "b": 3, "not annotated": 9}
    np.testing.assert_array_equal(LoadTruthd(["image", "label"], classes=classes)(item)["label"][0].T, CLASSES)
    numbered = Classes(classes.names, "instances+classes")
    out = LoadTruthd(["image", "label"], classes=numbered)({**item, "not_annotated": 9})
    found = LabelToClassedInstancesd("label")(out)
    np.testing.assert_array_equal(found["class_of"][np.asarray(found["label"][0].T)], CLASSES)
    assert found["label"].max() == 4
    item["segments"] = {"c": 5}
    with pytest.raises(ImageError, match="there is no class 'c'"):
        LoadTruthd(["image", "label"], classes=classes)(item)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("number,class\n1,a\n", "its columns must be instance and class, got"),
        ("instance,class\n1,a\nx,a\n", "line 3: an instance is a number from 1, got 'x'"),
        ("instance,class\n1,a\n1,b\n", "line 3: instance 1 has two classes"),
        ("instance,class\n1,c\n", "line 2: there is no class 'c'"),
        ("instance,class\n1,3\n", r"x\.csv: line 2: the value 3 has no class; classes are 0 ground, 1 a, 2 b: name"),
        ("instance,class\n1,ground\n", "cannot be of class 'ground', the background's"),
    ],
)
def test_bad_tables_are_named(text, message, tmp_path):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(ImageError, match=message) as told:
        read_class_table(tmp_path / "x.csv", Classes(tuple(NAMES), "instances+classes"))
    assert told.value.path == str(tmp_path / "x.csv")


def test_weights_are_counted_once_over_a_data_set(data):
    (data / "class").rmdir()
    tifffile.imwrite(data / "label" / "x.tif", CLASSES)
    classes, items = classes_of_data(data), folder.datalist(data)
    steps = [LoadTruthd(["image", "label"], classes=classes), LabelToClassedInstancesd("label", "classes")]
    steps.append(SeparateTouchingd("label", 0))
    counts = np.bincount(CLASSES.ravel())
    assert class_weights("dataset", items, steps, classes) == pytest.approx(list(15 / (3 * counts)))
    roots = np.array(class_weights("sqrt", items, steps, classes))
    assert roots / roots[0] == pytest.approx((counts[0] / counts) ** 0.5)
    assert roots @ counts == pytest.approx(15)
    assert class_weights("tile", items, steps, classes) is None
    assert class_weights([1, 2, 3], items, steps, classes) == [1, 2, 3]
    for wrong in ("image", [1, 2], [1, 2, -3]):
        with pytest.raises(ValueError, match="class_weights must be"):
            class_weights(wrong, items, steps, classes)


def test_classes_that_training_lacks_are_named(caplog):
    classes = Classes(("ground", "a", "b", "c"), "classes")
    training = [{"label": np.array([[[0, 1, -1]]]), "class_of": np.array([0, 1])}]
    np.testing.assert_array_equal(class_pixels(training, 4), [1, 1, 0, 0])
    warn_of_absent_classes(classes, training, [{"annotated_classes": np.array([[[0, 2, -1]]])}])
    assert "class 'b' occurs in validation images only" in caplog.text
    assert "class 'c' occurs in no training image" in caplog.text
    assert "'a'" not in caplog.text
    caplog.clear()
    warn_of_absent_classes(Classes(), training, [])
    assert caplog.text == ""

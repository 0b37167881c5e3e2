"""Names of classes, the values that stand for them, and the kinds of truth."""

import json

import numpy as np
import pytest

from bundle.data.class_values import COLOUR
from bundle.data.classes import Classes, classes_of_data
from bundle.data.errors import ImageError

#: gray values of a published data set, several of one class
VNC = {
    "membrane": [0, 32, 64, 96, 128],
    "glia or extracellular": 159,
    "mitochondrion": 191,
    "synapse": 223,
    "inside": 255,
}


def test_without_names_there_are_cells_and_background(tmp_path):
    found = classes_of_data(tmp_path)
    assert (found.names, found.kind, found.binary) == (("background", "cell"), "instances", True)
    assert classes_of_data(tmp_path / "nowhere").binary  # who reads the data says that it is not there


def test_the_kind_of_truth_is_recognised(tmp_path):
    (tmp_path / "classes.json").write_text(json.dumps(["background", "a", "b"]))
    assert classes_of_data(tmp_path).kind == "classes"
    assert classes_of_data(tmp_path, class_names=["ground", "x"]).names == ("ground", "x")  # the option wins
    assert classes_of_data(tmp_path, truth="instances").binary
    (tmp_path / "class").mkdir()
    found = classes_of_data(tmp_path)
    assert (found.kind, len(found)) == ("instances+classes", 3)
    assert classes_of_data(tmp_path, truth="classes").kind == "classes"


def test_gray_values_stand_for_classes():
    classes = classes_of_data(class_names=VNC)
    values = np.array([[0, 32, 159], [255, 128, -1]])
    np.testing.assert_array_equal(classes.indices(values, "x"), [[0, 0, 1], [4, 0, -1]])
    with pytest.raises(
        ImageError, match=r"x: .*without a class: 33 \(2 px\), 200 \(1 px\); class_names knows 0 membrane"
    ):
        classes.indices(np.array([33, 33, 200, 0]), "x")


def test_colours_stand_for_classes():
    classes = classes_of_data(class_names={"ground": [0, 0, 0], "red": [255, 0, 0], "gray": [[9, 9, 9], [8, 8, 8]]})
    values = np.array([COLOUR, COLOUR + 0xFF0000, 9, COLOUR + 0x080808, -1])
    np.testing.assert_array_equal(classes.indices(values, "x"), [0, 1, 2, 2, -1])
    with pytest.raises(ImageError, match=r"\[0, 255, 0\] \(1 px\); class_names knows \[0, 0, 0\] ground"):
        classes.indices(np.array([COLOUR + 0x00FF00]), "x")


def test_three_values_are_gray_ones_of_a_gray_label():
    classes = classes_of_data(class_names={"a": [1, 2, 3], "b": [4, 5, 6]})
    np.testing.assert_array_equal(classes.indices(np.array([2, 6, COLOUR + 0x040506]), "x"), [0, 1, 1])


def test_a_value_may_mean_not_annotated():
    classes = classes_of_data(class_names={"ground": 0, "a": 1, "not annotated": 7})
    assert classes.names == ("ground", "a")
    np.testing.assert_array_equal(classes.indices(np.array([0, 1, 7, 5]), "x", ignored=5), [0, 1, -1, -1])


def test_an_index_without_a_name_is_refused():
    classes = classes_of_data(class_names=["ground", "a", "b"])
    with pytest.raises(
        ImageError, match=r"3 \(1 px\); classes are 0 ground, 1 a, 2 b: name more classes by --class_names"
    ):
        classes.indices(np.array([0, 1, 3]), "x")
    assert classes.number("B") == 2
    assert classes.number("not_annotated") == -1
    with pytest.raises(ValueError, match="no class 'c'"):
        classes.number("c")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"truth": "pixels"}, "truth must be one of auto, instances, classes, instances[+]classes, got 'pixels'"),
        ({"truth": "classes"}, "needs names of the classes: give --class_names"),
        ({"truth": "instances", "class_names": ["a", "b"]}, "class_names needs truth"),
        ({"class_names": "a, b"}, "class_names must be a list of names or a table"),
        ({"class_names": ["a"]}, "2 to 256 different names"),
        ({"class_names": ["a", "A"]}, "2 to 256 different names"),
        ({"class_names": ["a", "b/c"]}, "a class name is letters and digits.*got 'b/c'"),
        ({"class_names": ["a", "mean"]}, "not 'mean', got 'mean'"),
        ({"class_names": {"a": 0, "b": 0}}, "the value 0 stands for 'a' and 'b'"),
        ({"class_names": {"a": 0, "b": "red"}}, "class 'b' must have a gray value"),
        ({"class_names": {"a": 0, "b": -3}}, "class 'b' must have a gray value"),
        ({"class_names": {"a": [0, 0, 0], "b": [[9, 9, 9], [0.5, 0, 0]]}}, "class 'b' must have a gray value"),
        ({"class_names": {"a": 0, "b": []}}, "class 'b' must have a gray value"),
    ],
)
def test_what_names_no_classes_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        classes_of_data(**options)


def test_a_broken_file_of_names_is_named(tmp_path):
    (tmp_path / "classes.json").write_text("background, a")
    with pytest.raises(ValueError, match=r"classes.json is no JSON"):
        classes_of_data(tmp_path)


def test_data_takes_the_order_of_a_network():
    network = Classes(("ground", "b", "a"), "classes")
    found = classes_of_data(class_names=["Ground", "a", "b"], like=network)
    assert found.names == network.names
    np.testing.assert_array_equal(found.indices(np.array([0, 1, 2, -1]), "x"), [0, 2, 1, -1])
    found = classes_of_data(class_names={"ground": [0, 9], "a": 4, "not annotated": 5}, like=network)
    np.testing.assert_array_equal(found.indices(np.array([9, 4, 5]), "x"), [0, 2, -1])


@pytest.mark.parametrize("names", [["ground", "a", "c"], ["a", "ground", "b"]])
def test_other_names_than_the_networks_are_refused(names):
    with pytest.raises(ValueError, match=r"the data's classes are .*, those of the network ground, a, b"):
        classes_of_data(class_names=names, like=Classes(("ground", "a", "b"), "classes"))
    with pytest.raises(ValueError, match="those of the network background, cell"):
        classes_of_data(class_names=names, like=Classes())
    with pytest.raises(ValueError, match="the data's classes are background, cell"):
        classes_of_data(like=Classes(("ground", "a", "b"), "classes"))

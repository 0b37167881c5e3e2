import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from transforms import IGNORE, InstancesToClass, InstancesToClassd, LabelToInstances, LabelToInstancesd

BINARY = np.array([[[255, 255, 0, 0], [0, 0, 255, 0], [255, 0, 0, 0]]], np.uint8)


def test_binary_label_becomes_its_face_connected_components():
    out = LabelToInstances()(BINARY)
    np.testing.assert_array_equal(out, [[[1, 1, 0, 0], [0, 0, 2, 0], [3, 0, 0, 0]]])
    assert out.dtype == np.int32


def test_connectivity_2_joins_diagonals():
    out = LabelToInstances(connectivity=2)(BINARY)
    assert out[0, 0, 0] == out[0, 1, 2] != out[0, 2, 0]


def test_instances_keep_their_numbers():
    label = np.array([[[7, 0, 7], [0, 300, 0]]], np.uint16)
    np.testing.assert_array_equal(LabelToInstances()(label), label)


def test_kind_instances_does_not_split_a_single_cell():
    label = np.array([[[5, 0, 5]]], np.int64)
    np.testing.assert_array_equal(LabelToInstances("instances")(label), label)
    np.testing.assert_array_equal(LabelToInstances("auto")(label), [[[1, 0, 2]]])


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
def test_ignored_pixels_join_no_component(dtype):
    label = np.array([[[1, 200, 1, 0]]], dtype)
    np.testing.assert_array_equal(LabelToInstances(ignore_value=200)(label), [[[1, IGNORE, 2, 0]]])


def test_pixels_that_hold_ignore_stay_ignored():
    label = np.array([[[1, IGNORE, 2, 0]]], np.int16)
    np.testing.assert_array_equal(LabelToInstances()(label), label)


def test_bool_and_3d():
    label = np.zeros((1, 3, 3, 3), bool)
    label[0, 0, 0, 0] = label[0, 1, 0, 0] = label[0, 2, 2, 2] = True
    out = LabelToInstances()(label)
    assert out[0, 0, 0, 0] == out[0, 1, 0, 0] == 1
    assert out[0, 2, 2, 2] == 2
    assert (out > 0).sum() == 3


@pytest.mark.parametrize(
    ("label", "options", "message"),
    [
        ([[[0, 1, 2, 3, 4, 5, 6]]], {"kind": "binary"}, r"kind='binary'.*1, 2, 3, 4, 5, \.\.\. \(6 values\)"),
        ([[[0.0, 0.5, 1.0]]], {}, r"whole numbers, got 0\.5.*'nearest'"),
        ([[[0.0, np.nan]]], {}, "whole numbers, got nan"),
        ([[[0, -7, 1]]], {}, r"unknown label values -7.*-1 \(not annotated\)"),
        ([[[0, 2**40]]], {}, "unknown label values"),
        (np.array([[[0, 2**31]]], np.float32), {}, "unknown label values"),
        ([[[0, 1]], [[0, 1]]], {}, r"one channel.*\(2, 1, 2\)"),
    ],
)
def test_what_is_no_label_is_refused(label, options, message):
    with pytest.raises(ValueError, match=message):
        LabelToInstances(**options)(np.array(label))


def test_dtype_without_numbers_is_refused():
    with pytest.raises(TypeError, match="complex64"):
        LabelToInstances()(np.ones((1, 2, 2), np.complex64))


def test_unknown_options_are_refused():
    with pytest.raises(ValueError, match="auto, binary, instances, got 'mask'"):
        LabelToInstances("mask")
    with pytest.raises(ValueError, match="connectivity must be at least 1"):
        LabelToInstances(connectivity=0)


def test_label_of_one_class_warns_and_names_the_file():
    def named(values):
        return MetaTensor(torch.tensor(values), meta={"filename_or_obj": "t007.tif"})

    with pytest.warns(UserWarning, match=r"t007\.tif has no cell: all its pixels are 0 or not annotated"):
        empty = LabelToInstances()(named([[[0, 0, -1]]]))
    np.testing.assert_array_equal(empty, [[[0, 0, -1]]])
    with pytest.warns(UserWarning, match=r"t007\.tif has no background: is it inverted"):
        full = LabelToInstances()(named([[[1, 1, -1]]]))
    np.testing.assert_array_equal(full, [[[1, 1, -1]]])


def test_instances_become_classes(two_cells):
    out = InstancesToClass()(two_cells)
    assert out.dtype == np.int64
    np.testing.assert_array_equal(out, two_cells > 0)


def test_kind_and_meta_are_kept(kind, two_cells):
    for transform, dtype in ((LabelToInstances(), np.int32), (InstancesToClass(), np.int64)):
        out = transform(kind(two_cells))
        assert kind.is_kept_by(out)
        np.testing.assert_array_equal(np.asarray(out), transform(two_cells))
        assert np.asarray(out).dtype == dtype
        if isinstance(out, MetaTensor):
            assert out.meta["filename_or_obj"] == "cells.png"


def test_dictionary_forms_equal_array_forms(two_cells):
    data = {"label": np.where(two_cells == 2, 9, two_cells), "other": 1}
    out = LabelToInstancesd("label", ignore_value=9)(data)
    np.testing.assert_array_equal(out["label"], LabelToInstances(ignore_value=9)(data["label"]))
    assert (out["label"] == IGNORE).sum() == ((two_cells == 2) | (two_cells == IGNORE)).sum()
    assert out["other"] == 1
    np.testing.assert_array_equal(InstancesToClassd("label")(out)["label"], out["label"] > 0)
    with pytest.raises(KeyError):
        LabelToInstancesd("absent")(data)
    assert LabelToInstancesd("absent", allow_missing_keys=True)(data).keys() == data.keys()

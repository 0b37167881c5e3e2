"""Instances of several classes: from class maps, from instance maps beside them, and from tables."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from monai.data import MetaTensor
from scipy import ndimage

from transforms import InstancesToClass, InstancesToClassd, KeepClassesd, LabelToClassedInstancesd
from transforms.labels.classes import class_components, with_class_map, with_class_table

MAPS = st.one_of(
    arrays(np.int32, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(-1, 3)),
    arrays(np.int32, array_shapes(min_dims=3, max_dims=3, max_side=5), elements=st.integers(-1, 3)),
)


@given(MAPS)
@settings(max_examples=80, deadline=None)
def test_components_of_each_class_are_instances(classes):
    instances, table = class_components(classes[None])
    assert instances.dtype == np.int32
    back = np.where(instances[0] < 0, -1, table[np.maximum(instances[0], 0)])
    np.testing.assert_array_equal(back, classes)
    assert len(table) - 1 == instances.max(initial=0)
    for number in range(1, len(table)):
        assert ndimage.label(instances[0] == number)[1] == 1
    for axis in range(classes.ndim):  # components of one class never touch
        one, other = np.moveaxis(instances[0], axis, 0)[1:], np.moveaxis(instances[0], axis, 0)[:-1]
        touch = (one != other) & (one > 0) & (other > 0)
        assert (table[one[touch]] != table[other[touch]]).all()


@given(MAPS, st.lists(st.integers(1, 4), min_size=3, max_size=3))
@settings(max_examples=60, deadline=None)
def test_an_instance_map_and_its_class_map_give_the_table(instances, kinds):
    classes = np.where(instances < 0, -1, np.array([0, *kinds])[np.maximum(instances, 0)])
    found, table = with_class_map((instances * 7 - (instances < 0) * -6)[None], classes[None])
    np.testing.assert_array_equal(np.where(found[0] < 0, -1, table[np.maximum(found[0], 0)]), classes)
    np.testing.assert_array_equal(found > 0, instances[None] > 0)
    assert set(np.unique(found[found > 0])) == set(range(1, len(table)))


def test_pixels_without_a_class_say_nothing():
    instances = np.array([[[5, 5, 0, 9, 9, 0]]], np.int32)
    found, table = with_class_map(instances, np.array([[[2, -1, -1, -1, -1, 0]]]))
    np.testing.assert_array_equal(found, [[[1, 1, -1, -1, -1, 0]]])
    assert table[1] == 2


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([[1, 2, 0]], r"instance 4 of f.tif has two classes, a and b \(1 px\)"),
        ([[1, 0, 0]], r"instance 4 of f.tif has 1 px of class ground"),
        ([[1, 1, 2]], r"has 1 px of b where the instance map of f.tif has background"),
        ([[1, 1]], r"the class map is \(1, 2\) px, the instance map of f.tif \(1, 3\)"),
    ],
)
def test_maps_that_disagree_are_refused(classes, message):
    instances = MetaTensor(np.array([[[4, 4, 0]]], np.int32), meta={"filename_or_obj": "f.tif"})
    instances.meta["filename_or_obj"] = "f.tif"
    with pytest.raises(ValueError, match=message):
        with_class_map(instances, np.array([classes]), ["ground", "a", "b"])


def test_a_table_names_the_class_of_each_instance():
    instances = np.array([[[3, 8, 0, 12, -1]]], np.int32)
    found, table = with_class_table(instances, {3: 2, 8: -1, 12: 1, 99: 1})
    np.testing.assert_array_equal(found, [[[1, -1, 0, 3, -1]]])
    np.testing.assert_array_equal(table, [0, 2, 0, 1])
    with pytest.raises(ValueError, match="1 instances have no class in their table, first 12"):
        with_class_table(instances, {3: 2, 8: 1})


def test_the_dictionary_form_takes_every_kind_of_truth(kind):
    instances, classes = np.array([[[3, 3, 0, 5]]], np.int32), np.array([[[2, 2, 0, 1]]], np.int32)
    plain = LabelToClassedInstancesd("label")({"label": kind(instances)})
    assert plain.keys() == {"label"}
    both = LabelToClassedInstancesd("label")({"label": kind(instances), "class_map": classes})
    by_table = LabelToClassedInstancesd("label")({"label": kind(instances), "class_table": {3: 2, 5: 1}})
    pixels = LabelToClassedInstancesd("label", kind="classes")({"label": kind(classes)})
    for item, table in ((both, [0, 2, 1]), (by_table, [0, 2, 1]), (pixels, [0, 1, 2])):
        assert item.keys() == {"label", "class_of"}
        assert kind.is_kept_by(item["label"])
        np.testing.assert_array_equal(item["class_of"], table)
        kept = KeepClassesd("label")(item)
        np.testing.assert_array_equal(np.asarray(kept["annotated_classes"]), classes)
        done = InstancesToClassd("label")(item)
        assert done.keys() == {"label"}  # what items do not share cannot be collated
        np.testing.assert_array_equal(np.asarray(done["label"]), classes)
    assert LabelToClassedInstancesd("label", allow_missing_keys=True)({"image": 1}) == {"image": 1}


def test_ignored_pixels_have_a_class_for_the_loss_and_none_for_metrics():
    item = {"label": np.array([[[-1, 0, 1, 2]]], np.int32), "class_of": np.array([0, 3, 1])}
    np.testing.assert_array_equal(KeepClassesd("label")(item)["annotated_classes"], [[[-1, 0, 3, 1]]])
    np.testing.assert_array_equal(InstancesToClassd("label")(item)["label"], [[[0, 0, 3, 1]]])
    assert "annotated_classes" not in KeepClassesd("label")({"label": item["label"]})
    with pytest.raises(ValueError, match="classes of instances up to 1, got 2"):
        InstancesToClass()(item["label"], np.array([0, 1]))

"""Discs with known answers, and properties that every labelling must have."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from monai.data import MetaTensor
from scipy import ndimage as ndi

from bundle.cells import CellOptions, strips
from bundle.cells.instances import ProbabilityToInstances, ProbabilityToInstancesd, probability_to_instances


def discs(shape, *centres_and_radii):
    grid = np.indices(shape)
    found = np.zeros(shape, dtype=bool)
    for *centre, radius in centres_and_radii:
        found |= sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) <= radius**2
    return found


def test_discs_are_labelled_in_the_order_of_their_first_pixel():
    one, two = discs((40, 60), (20, 12, 8)), discs((40, 60), (18, 40, 9))
    cells = probability_to_instances(0.9 * (one | two))
    assert cells.dtype == np.int32
    np.testing.assert_array_equal(cells, 2 * one + two)  # the second one begins a row above


def test_three_dimensions():
    one, two = discs((12, 14, 30), (6, 6, 6, 4)), discs((12, 14, 30), (6, 7, 20, 4))
    np.testing.assert_array_equal(probability_to_instances((one | two) * 1.0) > 0, one | two)
    assert probability_to_instances((one | two) * 1.0).max() == 2


def test_the_threshold_itself_is_background():
    probability = np.array([[0.5, 0.0, 0.50001, 0.0, 0.49999]])
    np.testing.assert_array_equal(probability_to_instances(probability), [[0, 0, 1, 0, 0]])
    np.testing.assert_array_equal(probability_to_instances(probability, threshold=0), [[1, 0, 2, 0, 3]])


def test_connectivity_decides_about_corners():
    corner = np.eye(2)
    assert probability_to_instances(corner, connectivity=1).max() == 2
    assert probability_to_instances(corner, connectivity=2).max() == 1


def test_min_size_counts_pixels():
    probability = np.zeros((5, 20))
    for column, size in ((1, 2), (5, 3), (10, 4)):
        probability[2, column : column + size] = 1
    assert [int(probability_to_instances(probability, min_size=n).max()) for n in (0, 2, 3, 4, 5)] == [3, 3, 2, 1, 0]


class TestHoles:
    def test_a_hole_in_one_cell_is_filled(self):
        ring = discs((30, 30), (15, 15, 10)) & ~discs((30, 30), (15, 15, 4))
        filled = probability_to_instances(ring * 1.0)
        np.testing.assert_array_equal(filled > 0, discs((30, 30), (15, 15, 10)))
        np.testing.assert_array_equal(probability_to_instances(ring * 1.0, fill_holes=False) > 0, ring)

    def test_a_cell_inside_a_ring_is_not_drowned(self):
        eye = (discs((40, 40), (20, 20, 15)) & ~discs((40, 40), (20, 20, 9))) | discs((40, 40), (20, 20, 4))
        cells = probability_to_instances(eye * 1.0)
        assert cells.max() == 2
        np.testing.assert_array_equal(cells > 0, eye)

    def test_a_gap_among_cells_and_a_bay_at_the_edge_stay(self):
        probability = np.ones((9, 9))
        probability[3:6, 3:6] = 0  # enclosed by four cells, which hairlines part
        probability[4, :] = probability[:, 4] = 0
        np.testing.assert_array_equal(probability_to_instances(probability) > 0, probability > 0)
        bay = np.ones((9, 9))
        bay[0:3, 4] = 0
        np.testing.assert_array_equal(probability_to_instances(bay) > 0, bay > 0)

    def test_a_hole_that_opens_over_a_corner_is_none_for_cells_joined_by_edges_only(self):
        probability = np.ones((5, 5))
        probability[[0, 1, 2], [0, 1, 2]] = 0  # a diagonal way out
        assert probability_to_instances(probability, connectivity=1)[2, 2] == 0
        probability[0, 0] = 1
        assert probability_to_instances(probability, connectivity=1)[2, 2] == 1


class TestSeeds:
    touching = discs((50, 80), (25, 25, 14), (25, 51, 14))

    def test_touching_discs(self):
        assert probability_to_instances(self.touching * 1.0).max() == 1
        cells = probability_to_instances(self.touching * 1.0, split_by="distance")
        assert cells.max() == 2
        np.testing.assert_array_equal(cells > 0, self.touching)
        assert cells[25, 25] != cells[25, 51]
        # column 38 is as far from both
        assert set(np.unique(cells[:, :38][self.touching[:, :38]])) == {cells[25, 25]}
        assert set(np.unique(cells[:, 39:][self.touching[:, 39:]])) == {cells[25, 51]}

    def test_seeds_nearer_than_split_distance_are_one(self):
        assert probability_to_instances(self.touching * 1.0, split_by="distance", split_distance=30).max() == 1

    def test_a_faint_border_is_found_where_the_shape_shows_none(self):
        block = np.zeros((30, 62))
        block[5:25, 5:57] = 0.95
        block[5:25, 29:33] = 0.6  # still above the threshold
        assert probability_to_instances(block).max() == 1
        cells = probability_to_instances(block, split_by="probability", split_distance=8)
        assert cells.max() == 2
        assert set(np.unique(cells[5:25, 5:29])) == {1}
        assert set(np.unique(cells[5:25, 33:57])) == {2}

    def test_a_rod_is_one_cell_however_long(self):
        rods = np.zeros((40, 60))
        rods[2, 2:55] = rods[6:10, 2:55] = rods[14:19, 2:55] = 1
        np.fill_diagonal(rods[22:40, 10:28], 1)  # a line of corners: one cell, or one a pixel
        assert probability_to_instances(rods, split_by="distance", connectivity=2).max() == 4
        assert probability_to_instances(rods, split_by="distance", connectivity=1).max() == 3 + 18

    @pytest.mark.parametrize("split_by", ["distance", "probability"])
    def test_a_small_cell_beside_a_large_one_stays_itself(self, split_by):
        large, small = discs((40, 60), (20, 20, 15)), discs((40, 60), (20, 39, 2))
        cells = probability_to_instances(large * 0.99 + small * 0.6, split_by=split_by)
        np.testing.assert_array_equal(cells, large + 2 * small)

    @pytest.mark.parametrize("split_by", ["distance", "probability"])
    def test_thin_cells_and_full_images_are_not_lost(self, split_by):
        thin = np.zeros((20, 20))
        thin[3, 2:9] = thin[10:12, 2:9] = thin[15, 15] = 1
        np.testing.assert_array_equal(
            probability_to_instances(thin, split_by=split_by, split_distance=10) > 0, thin > 0
        )
        assert (probability_to_instances(np.ones((15, 15)), split_by=split_by) == 1).all()
        assert (probability_to_instances(np.zeros((15, 15)), split_by=split_by) == 0).all()


class TestGrow:
    @pytest.mark.parametrize(("ridge", "close_gaps"), [(1, 1), (2, 1), (3, 2), (4, 2)])
    def test_a_ridge_is_closed_and_outer_borders_stay(self, ridge, close_gaps):
        probability = np.zeros((12, 30))
        probability[2:10, 3:27] = 1
        probability[:, 15 : 15 + ridge] = 0
        cells = probability_to_instances(probability, close_gaps=close_gaps)
        assert cells.max() == 2
        assert (cells[4:8, 3:27] > 0).all()
        assert (cells[:, :3] == 0).all()
        assert (cells[:, 27:] == 0).all()
        assert (cells[:2] == 0).all()
        np.testing.assert_array_equal(probability_to_instances(probability, close_gaps=0) > 0, probability > 0)

    def test_a_wider_gap_and_the_notch_of_one_cell_stay(self):
        probability = np.zeros((12, 40))
        probability[2:10, 3:37] = 1
        probability[:, 14:19] = 0
        probability[:6, 27:29] = 0
        np.testing.assert_array_equal(probability_to_instances(probability, close_gaps=2) > 0, probability > 0)

    def test_a_ridge_that_runs_out_of_the_image_is_closed_up_to_its_edge(self):
        probability = np.ones((8, 9, 10))
        probability[4] = 0
        cells = probability_to_instances(probability, close_gaps=1)
        assert (cells[:4] == 1).all()
        assert (cells[5:] == 2).all()
        assert (cells[4] > 0).all()


class TestOutline:
    """Cells are told apart at one threshold and end at a lower one."""

    # two plateaus of 0.9 with slopes down to 0, which meet at 0.5 in column 20
    slope = np.clip(np.minimum(np.abs(np.arange(41) - 20) * 0.1 + 0.5, 0.9), 0, 1)
    slope[:4], slope[-4:] = [0, 0.2, 0.4, 0.6], [0.6, 0.4, 0.2, 0]
    valley = np.repeat(slope[None], 7, axis=0)

    def test_cells_meet_at_the_bottom_of_the_valley_and_end_at_the_outline(self):
        assert probability_to_instances(self.valley, threshold=0.4).max() == 1
        assert probability_to_instances(self.valley, threshold=0.7)[0, 17:24].tolist() == [1, 0, 0, 0, 0, 0, 2]
        cells = probability_to_instances(self.valley, threshold=0.7, low_threshold=0.3)[3]
        assert (cells[2:20] == 1).all()
        assert (cells[21:39] == 2).all()
        assert cells[20] in (1, 2)
        assert (cells[[0, 1, 39, 40]] == 0).all()

    def test_what_hangs_together_with_no_cell_is_background(self):
        probability = np.zeros((9, 30))
        probability[2:7, 2:9], probability[2:7, 15:20], probability[3:5, 25:27] = 0.9, 0.5, 0.9
        cells = probability_to_instances(probability, threshold=0.7, min_size=5, low_threshold=0.3)
        np.testing.assert_array_equal(cells > 0, np.where(np.arange(30) < 9, probability > 0, False))

    def test_a_hole_that_the_outline_closes_is_filled(self):
        probability = np.full((9, 9), 0.5)
        probability[1, 1:8], probability[4, 4] = 0.9, 0.0
        assert (probability_to_instances(probability, threshold=0.7, low_threshold=0.3) == 1).all()
        assert probability_to_instances(probability, threshold=0.7, low_threshold=0.3, fill_holes=False)[4, 4] == 0

    @given(arrays(np.float32, (9, 11), elements=st.floats(0, 1, width=16)), st.floats(0, 0.5), st.integers(0, 3))
    def test_cells_keep_their_cores_and_end_where_the_mask_does(self, probability, low_threshold, min_size):
        cores = probability_to_instances(probability, min_size=min_size, fill_holes=False)
        cells = probability_to_instances(probability, min_size=min_size, fill_holes=False, low_threshold=low_threshold)
        assert cells.max() == cores.max()
        for number in range(1, cores.max() + 1):
            assert len(np.unique(cells[cores == number])) == 1
        mask, _ = ndi.label(probability > low_threshold)
        np.testing.assert_array_equal(cells > 0, np.isin(mask, mask[cores > 0]) & (mask > 0))

    def test_none_and_the_threshold_itself_are_the_same(self):
        for low_threshold in (None, 0.7):
            cells = probability_to_instances(self.valley, threshold=0.7, low_threshold=low_threshold)
            np.testing.assert_array_equal(cells > 0, self.valley > 0.7)

    @pytest.mark.parametrize(("low_threshold", "near"), [(0.6, "0.5 is near"), (-0.1, "0 is near")])
    def test_above_the_threshold_or_below_0(self, low_threshold, near):
        with pytest.raises(
            ValueError, match=rf"low_threshold must be None or 0 .. threshold 0.5 \({near}\), got {low_threshold}"
        ):
            ProbabilityToInstances(low_threshold=low_threshold)


class TestStacks:
    """A stack is labelled slice by slice; what one slice holds is nothing to the next."""

    # the same disc in all slices, but for the middle one, which is empty; a second one in the last
    stack = np.stack(
        [discs((20, 40), (10, 10, 5)) * 1.0, np.zeros((20, 40)), discs((20, 40), (10, 10, 5), (10, 30, 4)) * 1.0], -1
    )

    def test_every_slice_alone_and_numbers_that_go_on(self):
        cells = probability_to_instances(self.stack, spatial_dims=2)
        assert cells.dtype == np.int32
        assert [sorted(set(cells[..., i].ravel())) for i in range(3)] == [[0, 1], [0], [0, 2, 3]]
        np.testing.assert_array_equal(cells > 0, self.stack > 0)

    def test_a_cell_through_all_slices_is_one_a_slice_and_one_of_the_volume(self):
        column = np.repeat(discs((20, 20), (10, 10, 5))[..., None], 4, axis=-1) * 1.0
        cells = probability_to_instances(column, spatial_dims=2)
        assert [set(cells[..., i].ravel()) for i in range(4)] == [{0, 1}, {0, 2}, {0, 3}, {0, 4}]
        assert probability_to_instances(column).max() == 1
        assert probability_to_instances(column, spatial_dims=3).max() == 1

    def test_min_size_is_of_a_slice(self):
        area = int(discs((20, 40), (10, 30, 4)).sum())
        assert probability_to_instances(self.stack, spatial_dims=2, min_size=area).max() == 3
        assert probability_to_instances(self.stack, spatial_dims=2, min_size=area + 1).max() == 2
        volume = np.repeat(self.stack[..., 2:], 4, axis=-1)
        assert probability_to_instances(volume, min_size=area + 1).max() == 2  # four slices of it are larger

    def test_a_hole_in_a_slice_is_filled_though_it_is_open_in_the_volume(self):
        ring = discs((30, 30), (15, 15, 10)) & ~discs((30, 30), (15, 15, 4))
        stack = np.repeat(ring[..., None], 3, axis=-1) * 1.0
        np.testing.assert_array_equal(probability_to_instances(stack) > 0, stack > 0)
        filled = probability_to_instances(stack, spatial_dims=2)
        assert (filled[15, 15] == [1, 2, 3]).all()

    def test_one_image_is_its_own_slice(self):
        image = self.stack[..., 2]
        np.testing.assert_array_equal(probability_to_instances(image, spatial_dims=2), probability_to_instances(image))

    @given(
        arrays(np.float32, (6, 5, 4), elements=st.floats(0, 1, width=16)), st.integers(0, 3), st.sampled_from([0, 1])
    )
    def test_each_slice_is_what_it_would_be_alone(self, stack, min_size, close_gaps):
        cells = probability_to_instances(stack, min_size=min_size, close_gaps=close_gaps, spatial_dims=2)
        count = 0
        for index in range(stack.shape[-1]):
            alone = probability_to_instances(stack[..., index], min_size=min_size, close_gaps=close_gaps)
            np.testing.assert_array_equal(cells[..., index], np.where(alone > 0, alone + count, 0))
            count += alone.max()


HANGING_ON_BY_A_CORNER = np.ones((14, 3), np.float32)
HANGING_ON_BY_A_CORNER[[12, 13], [0, 1]] = 0
MAPS = arrays(np.float32, st.tuples(st.integers(1, 14), st.integers(1, 14)), elements=st.floats(0, 1, width=16))


@given(
    MAPS,
    MAPS,
    st.sampled_from([None, "distance", "probability"]),
    st.sampled_from([None, 0.0, 0.25]),
    st.sampled_from([1, 2]),
)
def test_a_cell_depends_on_nothing_but_its_own_component(first, second, split_by, low_threshold, connectivity):
    options = {"split_by": split_by, "split_distance": 2, "low_threshold": low_threshold, "connectivity": connectivity}
    height = max(first.shape[0], second.shape[0]) + 2
    alone = [np.pad(each, ((1, height - 1 - each.shape[0]), (1, 1))) for each in (first, second)]
    together = probability_to_instances(np.concatenate(alone, axis=1), **options)
    for cells, found in zip(np.split(together, [alone[0].shape[1]], axis=1), alone, strict=True):
        expected = probability_to_instances(found, **options)
        ranks = np.searchsorted(np.unique(cells[cells > 0]), cells) + 1
        np.testing.assert_array_equal(np.where(cells > 0, ranks, 0), expected)


@given(
    MAPS,
    st.integers(0, 6),
    st.sampled_from([0, 1, 1.5, 3]),
    st.sampled_from([None, "distance", "probability"]),
    st.sampled_from([1, 2]),
    st.booleans(),
)
@example(HANGING_ON_BY_A_CORNER, 0, 0, "distance", 2, False)
def test_properties(probability, min_size, close_gaps, split_by, connectivity, fill_holes):
    options = {"split_by": split_by, "connectivity": connectivity, "fill_holes": fill_holes, "split_distance": 3}
    cells = probability_to_instances(probability, min_size=min_size, close_gaps=close_gaps, **options)
    before = probability_to_instances(probability, min_size=min_size, close_gaps=0, **options)
    sizes = np.bincount(before.ravel())[1:]
    assert sorted(set(cells.ravel()) - {0}) == list(range(1, cells.max() + 1))
    assert all(sizes >= min_size)
    # growing keeps every pixel of every cell, and thereby their number: nothing merges, nothing vanishes
    pairs = {(int(a), int(b)) for a, b in zip(before[before > 0], cells[before > 0], strict=True)}
    assert len(pairs) == before.max() == cells.max()
    assert len({b for _, b in pairs}) == len(pairs)
    assert (ndi.distance_transform_edt(before == 0)[cells > 0] <= close_gaps).all()
    if min_size == 0 and not fill_holes:  # splitting keeps to the components: each cell lies in one of them
        components, _ = ndi.label(probability > 0.5, ndi.generate_binary_structure(2, connectivity))
        inside = {(int(a), int(b)) for a, b in zip(before[before > 0], components[before > 0], strict=True)}
        assert len(inside) == before.max()
    if min_size == 0:
        assert (before[probability > 0.5] > 0).all()
        assert fill_holes or (before[probability <= 0.5] == 0).all()


@pytest.mark.parametrize(
    ("probability", "options", "message"),
    [
        (np.zeros((1, 2, 3, 4)), {}, r"HW or HWD .* got \(1, 2, 3, 4\)"),
        (np.zeros((0, 4)), {}, r"at least one px, got \(0, 4\)"),
        (np.array([[0.2, np.nan]]), {}, "holds 1 NaN"),
        (np.array([[-3.0, 4.5]]), {}, r"got -3 \.\. 4\.5: apply a softmax to logits"),
        (np.zeros((4, 4)), {"threshold": 1.0}, "threshold must be at least 0 and below 1"),
        (np.zeros((4, 4)), {"threshold": -0.1}, "threshold must be at least 0"),
        (np.zeros((4, 4)), {"min_size": -1}, r"min_size must be at least 0 px \(0 is the nearest\), got -1"),
        (np.zeros((4, 4)), {"close_gaps": float("nan")}, "close_gaps must be at least 0 px"),
        (np.zeros((4, 4)), {"split_by": "magic"}, 'split_by must be None, "distance" or "probability"'),
        (np.zeros((4, 4)), {"split_distance": 0}, "split_distance must be at least 1 px"),
        (np.zeros((4, 4)), {"connectivity": 3}, r"connectivity must be 1 \.\. 2"),
        (np.zeros((4, 4)), {"connectivity": 0}, "connectivity must be 1"),
        (np.zeros((4, 4, 4)), {"connectivity": 3, "spatial_dims": 2}, r"connectivity must be 1 \.\. 2 for images of 2"),
        (np.zeros((4, 5)), {"spatial_dims": 3}, r"at most 2 for a map of 2 axes \(4, 5\) \(2 is the nearest\), got 3"),
        (np.zeros((4, 4)), {"spatial_dims": 1}, "spatial_dims must be None, 2 or 3 .* got 1"),
    ],
)
def test_errors(probability, options, message):
    with pytest.raises(ValueError, match=message):
        probability_to_instances(probability, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"connectivity": 3, "spatial_dims": 2}, r"connectivity must be 1 \.\. 2 .* got 3"),
        ({"spacing": [1, 1], "spatial_dims": 3}, r"spacing must have 3 numbers.* got \[1, 1\]"),
    ],
)
def test_options_that_no_image_can_have_are_refused_at_once(options, message):
    with pytest.raises(ValueError, match=message):
        CellOptions(**options)


class TestTransforms:
    probability = (0.9 * discs((20, 20), (10, 10, 5)))[None].astype(np.float32)

    @pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor, MetaTensor])
    def test_kind_and_meta_are_kept(self, kind):
        given_ = kind(self.probability)
        if kind is MetaTensor:
            given_.meta["filename_or_obj"] = "a.png"
        cells = ProbabilityToInstances(min_size=10)(given_)
        assert type(cells) is type(given_)
        assert str(cells.dtype).endswith("int32")
        np.testing.assert_array_equal(np.asarray(cells)[0], discs((20, 20), (10, 10, 5)))
        assert kind is not MetaTensor or cells.meta["filename_or_obj"] == "a.png"

    def test_dictionary(self):
        label = ProbabilityToInstancesd("probability", "instances", min_size=200)
        found = label({"probability": self.probability, "other": 1})
        assert set(found) == {"probability", "instances", "other"}
        assert found["probability"] is self.probability
        assert found["instances"].max() == 0
        assert (
            ProbabilityToInstancesd("probability")({"probability": self.probability})["probability"].dtype == np.int32
        )
        with pytest.raises(KeyError):
            label({})
        assert ProbabilityToInstancesd("probability", allow_missing_keys=True)({}) == {}

    def test_a_stack_of_a_2d_network(self):
        stack = np.repeat(self.probability[..., None], 3, axis=-1)
        found = ProbabilityToInstancesd("probability", "instances", spatial_dims=2)({"probability": stack})
        assert found["instances"].shape == (1, 20, 20, 3)
        assert [int(found["instances"][..., i].max()) for i in range(3)] == [1, 2, 3]

    def test_options_and_channels_are_checked(self):
        with pytest.raises(ValueError, match="threshold"):
            ProbabilityToInstancesd("probability", threshold=2)
        with pytest.raises(ValueError, match="spatial_dims"):
            ProbabilityToInstancesd("probability", spatial_dims=4)
        with pytest.raises(ValueError, match=r"KHW\[D\] of K classes\), got \(0, 20, 20\)"):
            ProbabilityToInstances()(np.zeros((0, 20, 20)))

    def test_of_several_classes_the_cells_are_those_of_all_but_the_first(self):
        parts = np.stack([1 - self.probability, self.probability / 4, self.probability * 3 / 4])
        np.testing.assert_array_equal(ProbabilityToInstances()(parts), ProbabilityToInstances()(self.probability[None]))


class TestStrips:
    """Cells found strip by strip are those of the whole image."""

    @given(
        st.one_of(
            arrays(np.float32, (23, 11), elements=st.sampled_from([0.1, 0.4, 0.6, 0.9])),
            arrays(np.float32, (9, 6, 5), elements=st.floats(0, 1, width=16)),
        ),
        st.sampled_from([0.0, 1.0, 1.5, 3.0]),
        st.sampled_from([None, 0.0, 0.25]),
        st.sampled_from([0, 4]),
        st.sampled_from([1, 2]),
        st.sampled_from([1, 60]),
    )
    def test_are_equal(self, probability, close_gaps, low_threshold, min_size, connectivity, elements):
        options = {"close_gaps": close_gaps, "low_threshold": low_threshold, "min_size": min_size}
        whole = probability_to_instances(probability, connectivity=connectivity, **options)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(strips, "_STRIP", elements)
            parts = probability_to_instances(probability, connectivity=connectivity, **options)
        assert whole.dtype == parts.dtype == np.int32
        np.testing.assert_array_equal(parts, whole)

    @pytest.mark.parametrize("split_by", ["distance", "probability"])
    def test_components_over_several_strips_are_split_once(self, split_by, monkeypatch):
        random = np.random.RandomState(0)
        probability = ndi.gaussian_filter(random.rand(150, 90), 2)
        probability = (probability - probability.min()) / np.ptp(probability)  # no two px are alike
        options = {"split_by": split_by, "split_distance": 3.0, "threshold": 0.55}
        whole = probability_to_instances(probability, **options)
        assert whole.max() > probability_to_instances(probability, threshold=0.55).max() > 5
        monkeypatch.setattr(strips, "_STRIP", 900)
        np.testing.assert_array_equal(probability_to_instances(probability, **options), whole)

    def test_a_gap_of_a_split_cell_at_the_edge_of_the_image_stays(self):
        block = np.ones((9, 12))
        block[:2, 5] = 0  # a notch that opens at the edge
        cells = probability_to_instances(block, split_by="distance", split_distance=20, close_gaps=1.0)
        np.testing.assert_array_equal(cells, block)

"""Scores against literal versions, and cells whose order is plain to the eye."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bundle.inference.uncertainty import border_score, epistemic_map, epistemic_score, rank
from tests.reference import uncertainty as reference

PASSES = st.integers(2, 5).flatmap(
    lambda n: arrays(np.float64, (n, 3, 4), elements=st.floats(0, 1, allow_subnormal=False))
)


class TestEpistemic:
    @given(PASSES)
    def test_equals_the_divergence_from_the_mean(self, probabilities):
        score = epistemic_score(torch.from_numpy(probabilities))
        assert score == pytest.approx(reference.disagreement(probabilities), abs=1e-9)
        assert 0 <= score <= math.log(2) + 1e-12
        pixels = epistemic_map(torch.from_numpy(probabilities))
        for row, column in np.ndindex(pixels.shape):
            own = probabilities[:, row : row + 1, column : column + 1]
            assert float(pixels[row, column]) == pytest.approx(reference.disagreement(own), abs=1e-9)

    @given(PASSES)
    def test_the_order_of_passes_the_class_and_the_size_do_not_matter(self, probabilities):
        p = torch.from_numpy(probabilities)
        score = epistemic_score(p)
        assert epistemic_score(p.flip(0)) == pytest.approx(score, abs=1e-12)
        assert epistemic_score(1 - p) == pytest.approx(score, abs=1e-9)
        assert epistemic_score(torch.cat([p, p], dim=2)) == pytest.approx(score, abs=1e-12)

    def test_by_hand(self):
        undecided = torch.full((4, 8, 8), 0.5)
        assert epistemic_score(undecided) == 0  # every pass says the same, however uncertain
        split = torch.tensor([0.0, 1.0]).view(2, 1, 1).expand(2, 8, 8)
        assert epistemic_score(split) == pytest.approx(math.log(2))
        half = torch.cat([split, torch.zeros(2, 8, 8)], dim=2)
        assert epistemic_score(half) == pytest.approx(math.log(2) / 2)
        assert epistemic_score(split.half()) == pytest.approx(math.log(2))

    @pytest.mark.parametrize(
        ("probabilities", "message"),
        [
            (torch.rand(1, 4, 4), r"at least 2 passes, got \(1, 4, 4\)"),
            (torch.rand(4, 4), r"PHW\[D\].*\(4, 4\)"),
            (torch.rand(2, 0, 4), "at least one px"),
            (torch.full((2, 4, 4), 1.5), "probabilities must be 0 .. 1.*1.5"),
            (torch.full((2, 4, 4), math.nan), "without NaN"),
        ],
    )
    def test_bad_input(self, probabilities, message):
        with pytest.raises(ValueError, match=message):
            epistemic_score(probabilities)


def pair(gap: float, width: int = 2, cell: float = 0.97, outside: float = 0.02, size=(40, 64)) -> torch.Tensor:
    """Two cells of 20 px a side that ``width`` columns of probability ``gap`` part."""
    p = torch.full(size, outside)
    p[10:30, 10:30] = cell
    p[10:30, 30 + width : 50 + width] = cell
    p[10:30, 30 : 30 + width] = gap
    return p


class TestBorder:
    def test_doubt_grows_up_to_one_half_and_falls_again(self):
        scores = [border_score(pair(gap)) for gap in (0.03, 0.1, 0.3, 0.45, 0.5, 0.56, 0.71, 0.85)]
        assert all(a < b for a, b in pairwise(scores[:5]))
        assert all(a > b for a, b in pairwise(scores[4:]))

    def test_a_gap_that_closes_does_not_go_unnoticed(self):
        open_, closed = border_score(pair(0.499)), border_score(pair(0.501))
        assert closed == pytest.approx(open_, rel=0.02)
        assert closed > 5 * border_score(pair(0.02))

    def test_cells_far_apart_or_surely_one_are_no_border(self):
        assert border_score(pair(0.97)) == 0  # nothing shows that these may be two
        assert border_score(pair(0.45, width=24, outside=0.45, size=(40, 90))) < 0.01
        assert border_score(torch.full((30, 30), 0.45)) == 0
        assert border_score(torch.zeros(30, 30)) == 0
        assert border_score(torch.ones(30, 30)) == 0

    def test_doubt_elsewhere_does_not_count(self):
        clear = pair(0.02)
        blurred = clear.clone()
        blurred[:4], blurred[-4:] = 0.45, 0.45
        blurred[12:28, 10:14] = 0.6  # a faint far side of a cell
        assert border_score(blurred) == pytest.approx(border_score(clear), abs=0.01)

    def test_a_hole_is_not_a_border(self):
        ring = torch.full((40, 40), 0.01)
        ring[5:35, 5:35] = 0.97
        ring[15:25, 15:25] = 0.45
        assert border_score(ring) == 0

    def test_three_in_a_row_that_part_one_after_the_other(self):
        row = torch.full((30, 70), 0.02)
        row[5:25, 5:65] = 0.97
        both = row.clone()
        both[5:25, 24:26], both[5:25, 44:46] = 0.55, 0.75
        second_closed = both.clone()
        second_closed[5:25, 44:46] = 0.97
        reached = [reference.border_doubt(p.double().numpy(), 0.5, 5.0, 20) for p in (both, second_closed)]
        assert border_score(both) == pytest.approx(reached[0], rel=1e-5)
        assert border_score(second_closed) == pytest.approx(reached[1], rel=1e-5)
        assert reached[0] != pytest.approx(reached[1], rel=0.05)

    def test_specks_are_no_parts(self):
        speckled = pair(0.97)
        speckled[12:28:4, 12:28:4] = 0.6  # dark dots: the cell stays in one piece
        assert border_score(speckled) == 0
        few = torch.full((40, 40), 0.02)
        few[10:30, 10:30] = 0.65
        few[12:15, 12:15] = few[25:28, 25:28] = 0.97  # two bright dots of 9 px
        assert border_score(few, min_size=20) == 0
        assert border_score(few, min_size=9) > 0

    @settings(max_examples=60)
    @given(
        arrays(np.float32, (9, 12), elements=st.sampled_from([0.02, 0.1, 0.3, 0.45, 0.55, 0.65, 0.75, 0.85, 0.97])),
        st.sampled_from([0.2, 0.5]),
        st.sampled_from([1.0, 5.0]),
        st.integers(0, 5),
    )
    def test_equals_the_literal_version(self, p, threshold, sigma, min_size):
        p = p.astype(np.float64)
        score = border_score(torch.from_numpy(p), threshold, sigma, min_size)
        assert score == pytest.approx(reference.border_doubt(p, threshold, sigma, min_size), rel=1e-5, abs=1e-7)
        assert 0 <= score < 1
        for turned in (p[::-1], p[:, ::-1], p.T):
            turned_score = border_score(torch.from_numpy(turned.copy()), threshold, sigma, min_size)
            assert turned_score == pytest.approx(score, rel=1e-5, abs=1e-7)

    @given(arrays(np.float64, (8, 8), elements=st.sampled_from([0.0, 1.0])))
    def test_who_is_sure_has_no_doubt(self, p):
        assert border_score(torch.from_numpy(p), min_size=1) == 0

    @pytest.mark.parametrize(
        ("p", "options", "message"),
        [
            (torch.rand(2, 3, 4, 5), {}, r"HW or HWD"),
            (torch.rand(0, 3), {}, "at least one px"),
            (torch.randn(4, 4) * 9, {}, "are these logits"),
            (torch.rand(4, 4), {"threshold": 1.0}, "threshold must be at least 0 and below 1"),
            (torch.rand(4, 4), {"sigma": 0.0}, "sigma must be above 0 px"),
            (torch.rand(4, 4), {"min_size": -1}, "min_size must be at least 0"),
        ],
    )
    def test_bad_input(self, p, options, message):
        with pytest.raises(ValueError, match=message):
            border_score(p, **options)


class TestRank:
    def test_highest_first_and_equal_ones_by_name(self):
        assert rank({"b": 0.5, "d": 0.1, "a": 0.5, "c": 0.9}) == ["c", "a", "b", "d"]
        assert rank({}) == []

    @given(st.dictionaries(st.text(max_size=3), st.floats(allow_nan=False), max_size=8))
    def test_every_image_once_in_falling_order_whatever_order_they_came_in(self, scores):
        ranked = rank(scores)
        assert sorted(ranked) == sorted(scores)
        assert all(scores[a] > scores[b] or (scores[a] == scores[b] and a < b) for a, b in pairwise(ranked))
        assert rank(dict(reversed(scores.items()))) == ranked

    def test_a_score_that_is_no_number(self):
        with pytest.raises(ValueError, match=r"image 't017' is NaN"):
            rank({"t001": 0.2, "t017": math.nan})

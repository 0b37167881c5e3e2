"""Curves as SVG, told apart by colour, dash and number."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.studies.comparison.learning_curves import chart, spread, style
from bundle.studies.comparison.mlflow_runs import Run
from bundle.studies.comparison.run_table import Row


def row(number: int, *names: str, status: str = "FINISHED") -> Row:
    runs = [Run(name, name, status, 0.0, 1.0, {}, {}, {}) for name in names]
    return Row(runs, [{} for _ in names], [{} for _ in names], number=number)


def curve(*values: float) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(1, len(values) + 1), np.array(values, dtype=float)


def strokes(svg: str | None) -> list[tuple[str, str]]:
    """Colour and width of every line drawn."""
    assert svg is not None
    found = []
    for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}path"):
        told = dict(part.strip().split(": ") for part in element.get("style", "").split(";") if ": " in part)
        if told.get("fill") == "none" and "stroke" in told:
            found.append((told["stroke"], told.get("stroke-width", "1")))
    return found


def test_thirty_five_rows_look_different():
    assert len({style(number) for number in range(1, 36)}) == 35


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20).map(sorted), st.floats(0.001, 0.05))
def test_numbers_at_the_ends_of_the_lines_do_not_cover_one_another(heights, apart):
    places = spread(heights, apart)
    assert all(after - before >= apart * (1 - 1e-9) for before, after in pairwise(places))
    assert max(places) <= 1
    if all(after - before >= apart for before, after in pairwise(heights)):
        assert places == pytest.approx(heights)  # nothing moves without need


def test_every_row_has_a_line_of_its_colour():
    rows = [row(1, "a"), row(2, "b"), row(3, "without")]
    curves = {"a": {"val/iou": curve(0.1, 0.2)}, "b": {"val/iou": curve(0.3, 0.1)}, "without": {}}
    drawn = [(colour, width) for colour, width in strokes(chart("val/iou", rows, curves, {}, 1)) if width == "1.6"]
    assert drawn == [(style(1).colour, "1.6"), (style(2).colour, "1.6")]
    assert chart("val/seg", rows, curves, {}, 1) is None


def test_seeds_are_thin_and_their_mean_is_thick():
    curves = {"a": {"val/iou": curve(0.1, 0.2)}, "b": {"val/iou": curve(0.3, 0.1, 0.4)}}
    drawn = strokes(chart("val/iou", [row(4, "a", "b")], curves, {}, 1))
    assert [width for colour, width in drawn if colour == style(4).colour] == ["0.7", "0.7", "1.6"]


@pytest.mark.parametrize(("values", "logarithmic"), [((9.0, 1.0), True), ((2.0, 1.0), False), ((9.0, -1.0), False)])
def test_a_loss_that_falls_far_is_logarithmic(values, logarithmic, monkeypatch):
    titles: list[str] = []
    from matplotlib.axes import Axes

    original = Axes.set_title
    monkeypatch.setattr(Axes, "set_title", lambda *a, **k: titles.append(a[1]) or original(*a, **k))
    chart("val/loss", [row(1, "a")], {"a": {"val/loss": curve(*values)}}, {}, 1)
    assert titles == ["val/loss", "lower is better, logarithmic" if logarithmic else "lower is better"]


def test_a_dollar_in_a_name_is_no_formula():
    strokes(chart("val/$x_", [row(1, "a")], {"a": {"val/$x_": curve(1, 2)}}, {}, 1))


def test_the_same_runs_give_the_same_picture():
    arguments = ("train/loss", [row(1, "a")], {"a": {"train/loss": curve(*range(900))}}, {}, 20)
    assert chart(*arguments) == chart(*arguments)

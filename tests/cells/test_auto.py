"""Cell options of a training: those that are "auto" have a value to start with."""

import pytest

from bundle.cells import AutoCellOptions, CellOptions


def test_auto_begins_with_the_defaults_of_a_training():
    options = AutoCellOptions(threshold="auto", min_size="auto", close_gaps="auto", split_by="auto", fill_holes=False)
    assert options.fixed() == CellOptions(min_size=20, close_gaps=1.0, fill_holes=False)
    assert set(options.auto) == {"threshold", "min_size", "close_gaps", "split_by"}


def test_it_begins_with_what_another_network_has_and_what_is_given_stays():
    other = CellOptions(threshold=0.8, low_threshold=0.4, split_by="distance", min_size=7)
    options = AutoCellOptions(threshold="auto", low_threshold="auto", split_by=None, min_size="auto", start=other)
    assert options.fixed() == CellOptions(threshold=0.8, low_threshold=0.4, split_by=None, min_size=7)
    # a threshold that is given may lie below the low one to start with
    assert AutoCellOptions(threshold=0.3, low_threshold="auto", start=other).low_threshold == 0.3


def test_without_auto_they_are_plain_options():
    options = AutoCellOptions(threshold=0.6, min_size=3)
    assert (options.auto, options.fixed()) == ((), CellOptions(threshold=0.6, min_size=3))
    assert options.at(0.2).auto == ()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"fill_holes": "auto"}, "fill_holes cannot be 'auto': it is not chosen; give True, for example"),
        ({"connectivity": "auto"}, "connectivity cannot be 'auto'"),
        ({"threshold": "automatic"}, "threshold must be a number"),
        ({"threshold": "auto", "low_threshold": 0.7}, "low_threshold must be None or 0 .. threshold"),
    ],
)
def test_what_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        AutoCellOptions(**given)

"""The benchmark of the window network at a tiny size."""

import pytest
import torch

from benchmarks import window
from benchmarks.timing import CheckError, Options, Timing

ONCE = Options(repeats=1, base_channels=2)


def test_one_window_a_pixel_is_multiplied_by_the_pixels_of_the_image(monkeypatch) -> None:
    def interleave(contenders, repeats, device):
        assert [call().shape[-1] for call in contenders.values()] == [68, 68, 4]
        return {name: Timing(k, k, k, k / 2) for k, name in enumerate(contenders, start=2)}

    monkeypatch.setattr(window, "interleave", interleave)
    (table,) = window.run(ONCE, size=68, windows=(65,), base_channels=2, square=4)
    assert [row[0] for row in table.rows] == [
        "U-Net, width 2",
        "windows of 65 px, dense",
        "windows of 65 px, one a pixel (16 timed, x 289)",
    ]
    # convolutions of one window by hand, twice the multiplications, at 68 x 68 pixels
    multiplications = 62**2 * 16 * 2 + 28**2 * 16 * 4 + 10**2 * 25 * 4 + 25 * 2 * 200 + 200 * 2
    assert float(table.rows[2][1]) == pytest.approx(2 * multiplications * 68**2 / 1e9, rel=0.01)
    assert [row[2:] for row in table.rows] == [["2.00", "1.00"], ["3.00", "1.50"], ["1156", "578"]]
    (target,) = table.targets
    assert (target.peer, target.measured) == ("windows of 65 px, one a pixel", 578)


def test_it_is_not_timed_when_the_two_forms_differ(monkeypatch) -> None:
    monkeypatch.setattr(window, "per_pixel", lambda *_: torch.ones(1, 2, 4, 4))
    with pytest.raises(CheckError, match="windows of 65 px one by one differ from dense by"):
        list(window.run(ONCE, size=68, windows=(65,), base_channels=2, square=4))


@pytest.mark.parametrize(("value", "expected"), [(131.9, 100), (99.9, 90), (4.2, 4), (1000, 1000)])
def test_targets_are_rounded_down(value: float, expected: float) -> None:
    assert window._rounded_down(value) == expected

"""SEG against its definition, object by object, against PyPI's py-ctcmetrics, and on cases worked out by hand."""

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from ctc_metrics.metrics import seg as peer_seg
from ctc_metrics.utils.representations import match as peer_match
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bundle.metrics.ctc import jaccard_indices, seg

maps = hnp.arrays(np.uint8, (5, 6), elements=st.integers(0, 4))


def literal(truth, result):
    values = []
    for r in np.unique(truth[truth > 0]):
        best = 0.0
        for s in np.unique(result[result > 0]):
            both = int(((truth == r) & (result == s)).sum())
            if both > 0.5 * int((truth == r).sum()):
                best = both / int(((truth == r) | (result == s)).sum())
        values.append(best)
    return values


@given(truth=maps, result=maps)
def test_equal_to_the_definition(truth, result):
    assert jaccard_indices(truth, result) == pytest.approx(literal(truth, result))


@given(truth=maps, result=maps, shift=st.integers(1, 1000))
def test_numbers_are_only_names(truth, result, shift):
    renamed = np.where(result > 0, result.astype(np.int64) * 60 + shift, 0)
    assert jaccard_indices(truth, renamed) == pytest.approx(jaccard_indices(truth, result))


@given(truth=maps, result=maps, unknown=hnp.arrays(bool, (5, 6)))
def test_what_nobody_annotated_is_no_object(truth, result, unknown):
    partial = np.where(unknown, -1, truth.astype(np.int32))
    expected = literal(np.where(unknown, 0, truth), result)
    assert jaccard_indices(partial, result) == pytest.approx(expected)


def of_peer(folder, frames):
    """SEG of py-ctcmetrics 1.3.3, which takes files.

    It is right where both maps of a frame have background and the sum of their largest numbers is below the largest
    of the result's type: without background its smallest label is dropped as if it were that, and the numbers of the
    result are raised in its own type (uint8 overflows soonest). Its table has a row for every label of both maps.
    """
    labels, ious = [], []
    for truth, result in frames:
        tifffile.imwrite(folder / "truth.tif", truth, photometric="minisblack")
        tifffile.imwrite(folder / "result.tif", result, photometric="minisblack")
        reference, _, _, _, iou = peer_match(str(folder / "truth.tif"), str(folder / "result.tif"))
        labels.append(reference)
        ious.append(iou)
    return peer_seg(labels, ious)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("peer")


numbers = hnp.arrays(np.uint16, (6, 9), elements=st.sampled_from([0, 0, 1, 2, 3, 700]))


@given(frames=st.lists(st.tuples(numbers, numbers), min_size=1, max_size=3))
def test_equal_to_py_ctcmetrics(folder, frames):
    for pair in frames:
        for labels in pair:
            labels[0, 0] = 0
    frames[0][0][1, 1:3] = 5
    assert seg(*zip(*frames, strict=True)) == pytest.approx(of_peer(folder, frames), abs=1e-12)


@pytest.mark.skipif("SEAMLESS_DATA" not in os.environ, reason="SEAMLESS_DATA names no folder with DIC-C2DH-HeLa/")
def test_silver_against_gold_of_the_real_data(folder, capsys):
    root = Path(os.environ["SEAMLESS_DATA"]) / "DIC-C2DH-HeLa"
    names = sorted(path.name for path in (root / "01_GT/SEG").glob("*.tif"))
    frames = [tuple(tifffile.imread(root / f"01_{kind}/SEG" / name) for kind in ("GT", "ST")) for name in names]
    value = seg(*zip(*frames, strict=True))
    assert value == pytest.approx(0.95370558, abs=1e-8)
    assert value == pytest.approx(of_peer(folder, frames), abs=1e-12)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.uint16, np.uint64, np.float32, np.float64])
def test_no_type_overflows(dtype):
    most = {bool: 1, np.int8: 127, np.uint8: 255, np.uint16: 65535}.get(dtype, 2**24)
    truth = np.zeros((20, 20), dtype)
    truth[2:9, 2:9] = most
    result = np.roll(truth, 1, axis=0)
    assert jaccard_indices(truth, result).tolist() == [42 / 56]
    full = np.full((4, 4), most, dtype)
    assert jaccard_indices(full, full).tolist() == [1.0]  # no background in either


def test_every_number_of_8_bits_and_no_background():
    truth = np.arange(256, dtype=np.uint8).reshape(16, 16).repeat(2, 0)
    assert jaccard_indices(truth, truth[::-1]).tolist() == literal(truth, truth[::-1])
    assert jaccard_indices(truth, truth).tolist() == [1.0] * 255


def test_many_objects_of_both_with_huge_numbers_need_no_table():
    """A table of all pairs would have 10^10 entries."""
    truth = np.arange(1, 100_001).reshape(250, 400) * (2**62 // 100_000)
    jaccard = jaccard_indices(truth, truth[::-1] - 1)
    assert jaccard.shape == (100_000,)
    assert (jaccard == 1).all()


def test_half_is_not_more_than_half():
    assert seg([np.array([[1, 1]])], [np.array([[1, 0]])]) == 0
    assert seg([np.array([[1, 1, 1]])], [np.array([[1, 1, 0]])]) == pytest.approx(2 / 3)


def test_false_positives_are_not_penalised_and_frames_are_pooled():
    truth = [np.array([[1, 0, 0, 0]]), np.array([[1, 1, 2, 2]])]
    result = [np.array([[1, 0, 5, 6]]), np.array([[3, 3, 3, 3]])]
    # the one of the first frame is exact, the two of the second share one result: 2 px of 4 each
    assert seg(truth, result) == pytest.approx((1 + 0.5 + 0.5) / 3)


def test_errors():
    with pytest.raises(ValueError, match=r"frame at position 1: result has shape \(1, 3\), truth \(1, 2\)"):
        seg([np.array([[1, 1]])] * 2, [np.array([[1, 1]]), np.array([[1, 1, 1]])])
    with pytest.raises(ValueError, match=r"truth must hold whole numbers of at least -1, got 0\.5 \(float64\)"):
        seg([np.array([[0.5]])], [np.array([[1]])])
    with pytest.raises(ValueError, match="no object"):
        seg([np.array([[0]])], [np.array([[1]])])
    with pytest.raises(ValueError, match="no object"):
        seg([], [])
    with pytest.raises(ValueError, match="result_frames end after 1 frames, the others continue"):
        seg([np.array([[1]])] * 2, [np.array([[1]])])
    with pytest.raises(ValueError, match="truth_frames end after 0 frames, the others continue"):
        seg([], iter([np.array([[1]])]))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.array([[1.0, np.nan]]), r"at least 0, got nan \(float64\)"),
        (np.array([[1.0, np.inf]]), r"at least 0, got inf"),
        (np.array([[1, 2**63]], np.uint64), r"at least 0, got 9223372036854775808 \(uint64\)"),
        (np.array([[1e30, 0]]), r"at least 0, got 1e\+30"),
        (np.array([[1, -1]]), r"at least 0, got -1 \(int64\)"),
        (np.array([["a", "b"]]), r"at least 0, got dtype <U1"),
    ],
)
def test_values_that_are_no_labels(wrong, message):
    with pytest.raises(ValueError, match=f"result must hold whole numbers of {message}"):
        jaccard_indices([[1, 0]], wrong)


def test_less_than_minus_one_is_not_even_truth():
    with pytest.raises(ValueError, match="truth must hold whole numbers of at least -1, got -2"):
        jaccard_indices([[1, -2]], [[1, 0]])

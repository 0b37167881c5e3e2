"""SEG against its definition, object by object, and on cases worked out by hand."""

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bundle.metrics.ctc import jaccard_indices, main, seg

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


def test_half_is_not_more_than_half():
    assert seg([np.array([[1, 1]])], [np.array([[1, 0]])]) == 0
    assert seg([np.array([[1, 1, 1]])], [np.array([[1, 1, 0]])]) == pytest.approx(2 / 3)


def test_false_positives_are_not_penalised_and_frames_are_pooled():
    truth = [np.array([[1, 0, 0, 0]]), np.array([[1, 1, 2, 2]])]
    result = [np.array([[1, 0, 5, 6]]), np.array([[3, 3, 3, 3]])]
    # the one of the first frame is exact, the two of the second share one result: 2 px of 4 each
    assert seg(truth, result) == pytest.approx((1 + 0.5 + 0.5) / 3)


def test_errors():
    with pytest.raises(ValueError, match=r"result has shape \(1, 3\), truth \(1, 2\)"):
        seg([np.array([[1, 1]])], [np.array([[1, 1, 1]])])
    with pytest.raises(ValueError, match="whole numbers"):
        seg([np.array([[0.5]])], [np.array([[1]])])
    with pytest.raises(ValueError, match="no object"):
        seg([np.array([[0]])], [np.array([[1]])])


def test_the_command(tmp_path, capsys):
    for name, array in (("truth/a", [[1, 1, 0, 2]]), ("out/a_cells", [[7, 0, 0, 8]])):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / f"{name}.tif", np.array(array, np.uint16), photometric="minisblack")
    main(["--truth", str(tmp_path / "truth"), "--result", str(tmp_path / "out")])
    assert capsys.readouterr().out == "SEG 0.5000 over 2 cells in 1 images; 2 cells found\n"
    with pytest.raises(SystemExit, match=r"missing .*b\.tif"):
        main(["--truth", str(tmp_path / "truth"), "--result", str(tmp_path / "out"), "--names", "b"])

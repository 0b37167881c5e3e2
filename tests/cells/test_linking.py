"""Cells of slices become instances of the volume: exact on generated tubes, equal to a slow and literal version."""

from itertools import pairwise

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data import MetaTensor
from scipy import ndimage as ndi
from skimage.segmentation import find_boundaries

from bundle.cells import LinkSlicesd, link_slices
from bundle.cells.linking import require_linkable
from bundle.model import checkpoints
from bundle.networks import UNet
from tests.conftest import inference, said_by


def disc(size: int, row: float, column: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


def tubes(seed: int, slices: int = 24, size: int = 120) -> np.ndarray:
    """Instances HWD of six tubes that wander; some branch, end, begin late, or grow thin."""
    random = np.random.RandomState(seed)
    truth = np.zeros((size, size, slices), np.int32)
    for number, (row, column) in enumerate([(20, 20), (20, 60), (20, 100), (70, 20), (70, 60), (70, 100)], start=1):
        begin, end = random.randint(0, 8), slices if number == 1 else random.randint(slices - 8, slices + 1)
        # the first, and half of the others, branch and come together again
        parting = slices // 2 if number == 1 else random.choice([slices, slices // 2])
        apart = 0.0
        for place in range(begin, end):
            row, column = np.array([row, column]) + random.uniform(-1, 1, 2)
            home = np.array([20 + 50 * (number > 3), 20 + 40 * ((number - 1) % 3)])
            row, column = home + np.clip((row, column) - home, -4, 4)
            apart += 1.5 if parting <= place < parting + 6 else -1.5 if apart > 0 else 0
            for side in (-1, 1):
                truth[disc(size, row + side * apart, column, 8 - 0.3 * apart), place] = number
    return truth


def cells_of(truth: np.ndarray) -> np.ndarray:
    """What is connected in each slice, numbered anew in each."""
    return np.stack([ndi.label(truth[..., k])[0] for k in range(truth.shape[2])], axis=-1)


@pytest.mark.parametrize("seed", range(8))
def test_branching_tubes_are_found_exactly(seed):
    truth = tubes(seed)
    cells = cells_of(truth)
    assert max(ndi.label(truth[..., k] == 1)[1] for k in range(truth.shape[2])) == 2  # there are branches
    found = link_slices(cells, 0.5)
    assert found.dtype == np.int32
    pairs = {*zip(truth.ravel().tolist(), found.ravel().tolist(), strict=True)}
    assert len(pairs) == 7  # the background and six tubes, each with one number of its own
    assert {number for _, number in pairs} == set(range(7))
    assert (found[truth == 0] == 0).all()


def literal(cells: np.ndarray, share: float) -> np.ndarray:
    """Pair by pair, joined by writing over the numbers again and again."""
    found, count = np.zeros(cells.shape, int), 0
    for k in range(cells.shape[2]):
        for number in np.unique(cells[..., k][cells[..., k] > 0]):
            count += 1
            found[..., k][cells[..., k] == number] = count
    group = {number: number for number in range(1, count + 1)}
    for k, after in pairwise(range(cells.shape[2])):
        for one in np.unique(found[..., k])[1 if (found[..., k] == 0).any() else 0 :]:
            for other in np.unique(found[..., after])[1 if (found[..., after] == 0).any() else 0 :]:
                a, b = found[..., k] == one, found[..., after] == other
                if (a & b).any() and (a & b).sum() >= share * min(a.sum(), b.sum()):
                    low, high = sorted((group[one], group[other]))
                    group = {number: low if kept == high else kept for number, kept in group.items()}
    order = {old: new for new, old in enumerate(sorted(set(group.values())), start=1)}
    return np.vectorize(lambda number: order[group[number]] if number else 0, otypes=[int])(found)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.2, 0.5, 1.0]))
def test_it_is_the_literal_rule(seed, share):
    random = np.random.RandomState(seed)
    cells = random.randint(-1, 4, (random.randint(1, 5), random.randint(1, 6), random.randint(1, 5)))
    np.testing.assert_array_equal(link_slices(cells, share), literal(cells, share))


def test_a_touch_is_no_link_unless_it_is_asked_for():
    stack = np.zeros((10, 30, 2), int)
    stack[:, :12, 0] = 1
    stack[:, 10:, 1] = 1  # 20 of 120 px
    assert link_slices(stack, 0.5).max() == 2
    assert link_slices(stack, 1 / 6).max() == 1
    with pytest.raises(ValueError, match="needs a stack HWD, got an image of 2 axes"):
        link_slices(stack[..., 0])
    for share in (0, 1.5, True, "half"):
        with pytest.raises(ValueError, match="link must be a share of the smaller cell's area"):
            LinkSlicesd("instances", share)


def test_an_image_without_slices_stays_and_a_stack_keeps_its_kind():
    flat = torch.ones(1, 3, 4, dtype=torch.int32)
    stack = MetaTensor(torch.ones(1, 3, 4, 2, dtype=torch.int32) * torch.tensor([1, 2]), meta={"a": 1})
    done = LinkSlicesd(["flat", "stack"])({"flat": flat, "stack": stack})
    assert done["flat"] is flat
    assert done["stack"].meta["a"] == 1
    assert done["stack"].unique().tolist() == [1]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ((0.5, ["a.zarr"], False, False), "a.zarr is segmented block by block"),
        ((0.5, [], True, False), "takes volumes"),
        ((0.5, [], False, True), "the cells of each class apart"),
        ((2, [], False, False), "link must be a share"),
    ],
)
def test_where_nothing_can_be_linked_is_said_before_anything_runs(given, told):
    require_linkable(None, *given[1:])
    with pytest.raises(ValueError, match=told):
        require_linkable(*given)


def test_the_command_links_a_stack_and_measures_its_volumes(tmp_path):
    """The same cells as without, under the numbers of the volumes; one row of the table for each."""
    (tmp_path / "in").mkdir()
    random = np.random.RandomState(0)
    stack = ndi.gaussian_filter(random.rand(5, 40, 44), (2, 4, 4)) * 2000
    tifffile.imwrite(tmp_path / "in" / "s.tif", stack.astype(np.uint16), photometric="minisblack")
    torch.manual_seed(3)
    checkpoints.write(tmp_path / "model.pt", UNet(2, 1, 2, base_channels=2, depth=1).state_dict())

    def run(name: str, **options: object) -> np.ndarray:
        places = {"dataset_dir": tmp_path / "in", "output_dir": tmp_path / name, "checkpoint": tmp_path / "model.pt"}
        inference(precision="fp32", **{"cells#min_size": 5}, **places, **options).run()
        return tifffile.imread(tmp_path / name / "s_cells.tif")

    tifffile.imwrite(tmp_path / "in" / "flat.tif", stack[0].astype(np.uint16))  # an image among stacks stays one
    single, linked = run("single"), run("linked", link=0.5, spacing=[2.0, 2.0, 10.0])
    assert single.max() > linked.max() > 0
    np.testing.assert_array_equal(linked.T, link_slices(single.T.astype(int), 0.5))
    lines = (tmp_path / "linked" / "s_cells.csv").read_text().splitlines()
    assert len(lines) == 1 + linked.max()
    row = dict(zip(lines[0].split(","), lines[1].split(","), strict=True))
    voxels = int((linked == 1).sum())
    assert int(row["voxels"]) == voxels
    assert float(row["volume_um3"]) == pytest.approx(40 * voxels)
    pages = tifffile.imread(tmp_path / "linked" / "s_overlay.tif")
    longest = max(range(1, linked.max() + 1), key=lambda number: (linked == number).any(axis=(1, 2)).sum())
    outline = np.stack([find_boundaries(plane == longest, mode="inner") for plane in linked])
    assert len(np.unique(pages[outline], axis=0)) == 1  # one colour through all slices
    assert outline.any(axis=(1, 2)).sum() > 1
    assert "link must be a share" in said_by(lambda: run("wrong", link=3))

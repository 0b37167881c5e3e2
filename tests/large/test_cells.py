"""Cells block by block, against those of the whole map."""

import errno
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage as ndi

from bundle.cells import CellOptions, probability_to_instances
from bundle.inference.probability import as_read, as_stored
from bundle.large.cells import find_cells
from bundle.large.cells.disk_table import DiskTable
from bundle.large.cells.grid import Grid, Plane
from bundle.large.cells.numbered import Numbered
from bundle.large.cells.tables import CellFacts, numbers_in_order


def plane(shape, dtype="uint32"):
    """In memory: blocks of a few px in a real store take long."""
    return Plane(np.full(tuple(reversed(shape)), 99, dtype))


def by_blocks(probability, options, block, dtype="float32"):
    """Cells, their facts (number, px, centre, no class), and the map off which they were read."""
    read = as_read(as_stored(probability.astype(np.float32), dtype))
    grid = Grid(read.shape, block)
    stores = tuple(plane(read.shape) for _ in range(3))
    with tempfile.TemporaryDirectory() as folder:
        found = find_cells(
            grid, lambda spans: read[tuple(slice(*span) for span in spans)], options, stores, Path(folder)
        )
        facts = CellFacts(Path(folder), found.count, read.ndim)
        for spans in grid:
            facts.add(spans, found.read(spans))
        everything = found.read(tuple((0, n) for n in read.shape))
        return everything.whole(), list(facts.rows()), read


def require_same(probability, options, block, dtype="float32"):
    found, facts, stored = by_blocks(probability, options, block, dtype)
    expected = probability_to_instances(stored, options)
    np.testing.assert_array_equal(found, expected)
    numbers = list(range(1, expected.max() + 1))
    assert [fact[0] for fact in facts] == numbers
    assert [fact[1] for fact in facts] == np.bincount(expected.ravel())[1:].tolist()
    centres = ndi.center_of_mass(np.ones(expected.shape), expected, numbers) if numbers else []
    assert [fact[2].tolist() for fact in facts] == [pytest.approx(centre) for centre in centres]
    return expected


options_2d = st.builds(
    CellOptions,
    threshold=st.sampled_from([0.3, 0.5, 0.6]),
    min_size=st.sampled_from([0, 3, 9]),
    fill_holes=st.booleans(),
    close_gaps=st.sampled_from([0, 1, 2.5]),
    split_by=st.sampled_from([None, "distance", "probability"]),
    split_distance=st.sampled_from([1, 2, 4.5]),
    low_threshold=st.sampled_from([None, 0.1, 0.3]),
    connectivity=st.sampled_from([1, 2]),
)


def random_map(size, seed, smooth, levels):
    noise = np.random.default_rng(seed).random(size)
    blurred = ndi.gaussian_filter(noise, smooth, mode="wrap") if smooth else noise
    low, high = blurred.min(), blurred.max()
    scaled = (blurred - low) / max(high - low, 1e-9)
    return np.round(scaled * levels) / levels  # plateaus


@settings(max_examples=120)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    block=st.tuples(st.integers(3, 17), st.integers(3, 17)),
    seed=st.integers(0, 10**6),
    smooth=st.sampled_from([0, 0.7, 1.5]),
    levels=st.sampled_from([2, 5, 1000]),
    options=options_2d,
)
def test_random_maps(size, block, seed, smooth, levels, options):
    require_same(random_map(size, seed, smooth, levels), options, block)


@settings(max_examples=25)
@given(
    size=st.tuples(st.integers(1, 14), st.integers(1, 14), st.integers(1, 14)),
    seed=st.integers(0, 10**6),
    smooth=st.sampled_from([0, 0.8]),
    options=options_2d,
    connectivity=st.integers(1, 3),
)
def test_random_volumes(size, seed, smooth, options, connectivity):
    options = CellOptions.of(options, connectivity=connectivity)
    require_same(random_map(size, seed, smooth, 5), options, (5, 4, 6))


def spiral(n=61):
    y, x = np.mgrid[:n, :n] - n // 2
    turns = np.hypot(x, y) / 4 - np.arctan2(y, x) / (2 * np.pi)
    return np.where((turns % 1) < 0.5, 0.9, 0.1)


def rings(n=61, broken=False):
    """Nested rings; between them gaps that two cells enclose, in the middle a hole that one does."""
    y, x = np.mgrid[:n, :n] - n // 2
    found = np.where(np.maximum(abs(x), abs(y)) % 6 < 3, 0.8, 0.2)
    found = 1 - found
    if broken:
        found[n // 2, :] = 0.2
    return found


def one_cell_over_all(n=90):
    found = np.full((n, n), 0.05)
    found[4::7] = 0.9
    found[:, 40] = 0.9
    return found


SHAPES = {
    "spiral": spiral(),
    "two spirals": np.maximum(spiral(), np.where(spiral() < 0.5, 0.55, 0)),
    "rings": rings(),
    "broken rings": rings(broken=True),
    "plateau": np.full((50, 47), 0.7),
    "nothing": np.zeros((33, 31)),
    "comb": one_cell_over_all(),
    "checkers": np.indices((40, 40)).sum(0) % 2 * 0.9,
    "one row": random_map((1, 70), 1, 1, 1000),
    "one column": random_map((70, 1), 1, 1, 1000),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(
    "options",
    [
        CellOptions(min_size=5),
        CellOptions(min_size=5, connectivity=2, close_gaps=1),
        CellOptions(split_by="distance", split_distance=3, min_size=4, close_gaps=1),
        CellOptions(low_threshold=0.15, split_by="probability", split_distance=2),
        CellOptions(low_threshold=0.15, connectivity=2, fill_holes=False),
    ],
)
def test_adversarial_shapes(name, options):
    for block in ((7, 5), (16, 40)):
        require_same(SHAPES[name], options, block)


@pytest.mark.parametrize("dtype", ["uint8", "float16"])
def test_of_what_is_stored(dtype):
    values = random_map((60, 50), 3, 1.5, 10**6)
    require_same(values, CellOptions(threshold=0.5, low_threshold=0.4, min_size=4), (13, 11), dtype)


def test_a_group_that_is_too_large_is_named_with_its_size(monkeypatch):
    import sys

    monkeypatch.setattr(sys.modules["bundle.large.cells.find_cells"], "MOST_PIXELS", 2000)
    with pytest.raises(
        RuntimeError, match=r"group of touching cells is 90 x 90 px large, from 0, 0 on, and 0 million px"
    ):
        by_blocks(one_cell_over_all(), CellOptions(split_by="distance"), (16, 16))
    require_same(one_cell_over_all(), CellOptions(min_size=9, close_gaps=2), (16, 16))


def test_tables_hold_no_memory_and_say_when_the_disk_is_full(tmp_path, monkeypatch):
    table = DiskTable(tmp_path, 10, 2)
    table.add(np.array([3, 3, 9]), np.array([[1, 2], [1, 2], [5, 6]]))
    table.raise_to(np.array([3, 9, 9]), np.array([[0, 9], [6, 0], [7, 1]]))
    table.put(np.array([0]), np.array([4, -4]))
    assert table.take(np.array([[3, 9], [0, 1]])).tolist() == [[[2, 9], [7, 6]], [[4, -4], [0, 0]]]
    assert table.slab(8, 99).tolist() == [[0, 0], [7, 6]]
    assert os.listdir(tmp_path) == []  # a process that is killed leaves nothing

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        DiskTable(tmp_path, 10)


def test_numbers_that_32_bits_do_not_hold(tmp_path):
    """And cells in the order of their first pixel, whatever they are called."""
    calls = np.array([0, 5, 2, 7])
    image = np.array([[0, 3, 3], [1, 0, 3], [1, 2, 2]])
    grid = Grid((3, 3), (2, 2))

    def read(spans):
        return Numbered(image[tuple(slice(*span) for span in spans)].astype(np.int32), calls)

    final, count = numbers_in_order(grid, read, 7, tmp_path)
    assert count == 3
    assert final.slab(0, 8)[:, 0].tolist() == [0, 0, 3, 0, 0, 2, 0, 1]
    far = read(((0, 3), (0, 3))).called(calls + 2**33 * (calls > 0))
    assert far.whole().max() == 2**33 + 7

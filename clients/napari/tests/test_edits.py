"""Edits beside slow ones that look at every pixel."""

from itertools import pairwise

import numpy as np
import pytest
from seamless_annotator import edits
from seamless_annotator.numbering import Numbering
from skimage.draw import disk

BINARY, SEVERAL = Numbering(["background", "cell"]), Numbering(["background", "a", "b", "c"])


def plane_of(numbering, seed, size=30):
    """Discs that touch and overlap, of any class, and a region that nobody annotated."""
    random = np.random.default_rng(seed)
    plane = np.zeros((size, size + 5), np.int32)
    for index in range(9):
        rows, columns = disk(random.integers(0, size, 2), random.integers(2, 9), shape=plane.shape)
        plane[rows, columns] = numbering.number(int(random.integers(1, len(numbering.names) + 1)), index)
    plane[:6, :6] = numbering.not_annotated
    return plane


def line_of(seed, size=30):
    return np.random.default_rng(seed + 1000).uniform(-4, size + 4, (3, 2))


def applied(plane, edit):
    changed = plane.copy()
    changed[edit.rows, edit.columns] = edit.numbers
    return changed


def bresenham(line, shape):
    """Pixels of a line, one step along its longer side at a time."""
    points = [tuple(int(np.rint(v)) for v in point) for point in line]
    found = [points[0]]
    for (r0, c0), (r1, c1) in pairwise(points):
        steps = max(abs(r1 - r0), abs(c1 - c0))
        found += [(r0 + (r1 - r0) * n / steps, c0 + (c1 - c0) * n / steps) for n in range(1, steps + 1)]
    return [(r, c) for r, c in found if -0.5 <= r <= shape[0] - 0.5 and -0.5 <= c <= shape[1] - 0.5]


def flooded(inside, start):
    """The pixels of a set that are reached from one of them over edges."""
    reached, waiting = {start}, [start]
    while waiting:
        row, column = waiting.pop()
        for near in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
            if near in inside and near not in reached:
                reached.add(near)
                waiting.append(near)
    return reached


def pieces(pixels):
    left, found = set(pixels), []
    while left:
        found.append(flooded(left, min(left)))
        left -= found[-1]
    return found


def where(plane, number):
    return {(int(r), int(c)) for r, c in zip(*np.nonzero(plane == number), strict=True)}


@pytest.mark.parametrize("seed", range(20))
def test_pixels_of_a_line_are_those_next_to_it(seed):
    plane, line = np.zeros((30, 35)), line_of(seed)
    rows, columns = edits.pixels_of_line(plane, line)
    exact = bresenham(line, plane.shape)
    for row, column in zip(rows, columns, strict=True):
        assert min(max(abs(row - r), abs(column - c)) for r, c in exact) <= 0.5 + 1e-9
    assert abs(len(rows) - len(exact)) <= 4  # at the border rounding may differ


@pytest.mark.parametrize("numbering", [BINARY, SEVERAL])
@pytest.mark.parametrize("seed", range(40))
def test_merge(seed, numbering):
    plane, line = plane_of(numbering, seed), line_of(seed)
    path = list(zip(*edits.pixels_of_line(plane, line), strict=True))
    touched = []
    for row, column in path:
        number = int(plane[row, column])
        if number and number % numbering.period and number not in touched:
            touched.append(number)
    if len(touched) < 2:
        with pytest.raises(ValueError, match="to merge"):
            edits.merge(plane, line, numbering)
        return
    expected = plane.copy()
    for number in touched[1:]:
        for pixel in where(plane, number):
            expected[pixel] = touched[0]
    cells = [n for n, pixel in enumerate(path) if plane[pixel] in touched]
    for pixel in path[cells[0] : cells[-1]]:
        if plane[pixel] == 0:
            expected[pixel] = touched[0]
    np.testing.assert_array_equal(applied(plane, edits.merge(plane, line, numbering)), expected)


@pytest.mark.parametrize("numbering", [BINARY, SEVERAL])
@pytest.mark.parametrize("seed", range(60))
def test_split(seed, numbering):
    plane, line, used = plane_of(numbering, seed), line_of(seed), 500
    path = set(zip(*(axis.tolist() for axis in edits.pixels_of_line(plane, line)), strict=True))
    numbers = sorted({int(n) for n in np.unique(plane) if n and n % numbering.period})
    falling = {}
    for number in numbers:
        cell = where(plane, number)
        touched = [piece for piece in pieces(cell) if piece & path]
        parts = [part for piece in touched for part in pieces(piece - path)]
        if len(parts) > len([piece for piece in touched if piece - path]) and len(parts) > 1:
            falling[number] = parts
    if not falling:
        with pytest.raises(ValueError, match="to split"):
            edits.split(plane, line, numbering, used)
        return
    after = applied(plane, edits.split(plane, line, numbering, used))
    np.testing.assert_array_equal(after > 0, plane > 0)  # no gap, no pixel beyond
    np.testing.assert_array_equal(numbering.class_of(after), numbering.class_of(plane))
    same = np.isin(plane, list(falling), invert=True)
    np.testing.assert_array_equal(after[same], plane[same])
    for number, parts in falling.items():
        given = [{int(after[pixel]) for pixel in part} for part in parts]
        assert all(len(each) == 1 for each in given)  # a part is of one number
        single = [each.pop() for each in given]
        assert len(set(single)) == len(parts)  # and no two of the same
        assert single[max(range(len(parts)), key=lambda n: len(parts[n]))] in (number, *single)
        assert number in single
        assert min(set(single) - {number}) > used
        for pixel in where(plane, number) & path:  # of the line: the nearest part's
            distances = [
                (min((pixel[0] - r) ** 2 + (pixel[1] - c) ** 2 for r, c in part), n)
                for part, n in zip(parts, single, strict=True)
            ]
            piece = [n for distance, n in distances if distance == min(distances)[0]]
            assert int(after[pixel]) in (*piece, number)


@pytest.mark.parametrize("seed", range(30))
def test_delete_and_class(seed):
    numbering, plane = SEVERAL, plane_of(SEVERAL, seed)
    point = tuple(np.random.default_rng(seed).integers(0, 30, 2).tolist())
    number = int(plane[point])
    if number == 0:
        with pytest.raises(ValueError, match="no cell under"):
            edits.delete(plane, point, numbering)
        return
    expected = plane.copy()
    gone = where(plane, number)
    gone = flooded(gone, point) if number % numbering.period == 0 else gone
    for pixel in gone:
        expected[pixel] = 0
    np.testing.assert_array_equal(applied(plane, edits.delete(plane, point, numbering)), expected)
    after = applied(plane, edits.give_class(plane, point, 2, numbering, 77))
    assert {int(after[pixel]) for pixel in gone} == {numbering.fresh(77, 2)}
    np.testing.assert_array_equal(np.where(expected == 0, 0, plane), np.where(expected == 0, 0, after))


def test_beside_the_plane_there_is_nothing():
    with pytest.raises(ValueError, match="no cell under"):
        edits.delete(plane_of(BINARY, 0), (-3, 400), BINARY)
    with pytest.raises(ValueError, match="to merge"):
        edits.merge(plane_of(BINARY, 0), [(-5, -5), (-9, 40)], BINARY)

"""Warping error, step by step: flip simple points in turn, classify what is left by flipping and labelling anew."""

from __future__ import annotations

import struct

Map = list[list[bool]]
Pixel = tuple[int, int]

FOUR = [(-1, 0), (0, -1), (0, 1), (1, 0)]
EIGHT = [*FOUR, (-1, -1), (-1, 1), (1, -1), (1, 1)]


def float32(value: float) -> float:
    return float(struct.unpack("f", struct.pack("f", value))[0])


def component(start: Pixel, pixels: set[Pixel], adjacency: list[Pixel]) -> set[Pixel]:
    """All of ``pixels`` that can be reached from ``start``, one of them."""
    reached, todo = {start}, [start]
    while todo:
        y, x = todo.pop()
        for dy, dx in adjacency:
            pixel = (y + dy, x + dx)
            if pixel in pixels and pixel not in reached:
                reached.add(pixel)
                todo.append(pixel)
    return reached


def touching(pixels: set[Pixel], adjacency: list[Pixel]) -> int:
    """Components of ``pixels``, neighbours of (0, 0), that hold one adjacent to it."""
    parts = {frozenset(component(pixel, pixels, adjacency)) for pixel in pixels}
    return sum(any(pixel in adjacency for pixel in part) for part in parts)


def simple(cells: Map, y: int, x: int) -> bool:
    """One 4-connected group of cell and one 8-connected group of membrane meet at the pixel; outside is membrane."""
    inside = [(dy, dx) for dy, dx in EIGHT if 0 <= y + dy < len(cells) and 0 <= x + dx < len(cells[0])]
    cell = {(dy, dx) for dy, dx in inside if cells[y + dy][x + dx]}
    return touching(cell, FOUR) == 1 and touching(set(EIGHT) - cell, EIGHT) == 1


def warp(truth: Map, proposal: list[list[float]], threshold: float) -> tuple[Map, list[Pixel]]:
    """The truth after all flips, and the pixels where it still differs."""
    cells = [list(row) for row in truth]
    height, width = len(cells), len(cells[0])
    before = None
    while True:
        columns = [(y, x) for x in range(width) for y in range(height)]
        queue = [(y, x) for y, x in columns if cells[y][x] != (proposal[y][x] > threshold)]
        if len(queue) == before:
            return cells, queue
        before = len(queue)
        for y, x in sorted(queue, key=lambda pixel: -float32(abs(proposal[pixel[0]][pixel[1]] - threshold))):
            if simple(cells, y, x):
                cells[y][x] = not cells[y][x]


def names(cells: Map) -> list[list[int]]:
    """0 at membranes, and a number a 4-connected cell."""
    left = {(y, x) for y, row in enumerate(cells) for x, cell in enumerate(row) if cell}
    numbers = [[0] * len(row) for row in cells]
    count = 0
    while left:
        count += 1
        reached = component(min(left), left, FOUR)
        for y, x in reached:
            numbers[y][x] = count
        left -= reached
    return numbers


def around(numbers: list[list[int]], y: int, x: int) -> set[int]:
    inside = [(y + dy, x + dx) for dy, dx in EIGHT if 0 <= y + dy < len(numbers) and 0 <= x + dx < len(numbers[0])]
    return {numbers[v][u] for v, u in inside}


def kind(cells: Map, numbers: list[list[int]], y: int, x: int) -> str:
    """What flipping the pixel would do; ``numbers`` are those of ``cells``."""
    neighbours = around(numbers, y, x)
    if len(neighbours) == 1:
        if neighbours == {0}:
            return "object deletion" if cells[y][x] else "object addition"
        return "hole addition" if cells[y][x] else "hole deletion"
    if len(neighbours) == 2:
        if not cells[y][x]:
            return "hole addition"
        flipped = [list(row) for row in cells]
        flipped[y][x] = False
        return "split" if len(around(names(flipped), y, x)) > 2 else "hole deletion"
    return "split" if cells[y][x] else "merger"


def mismatches(truth: Map, proposal: list[list[float]], threshold: float) -> dict[Pixel, str]:
    """Residual pixel -> kind."""
    cells, left = warp(truth, proposal, threshold)
    numbers = names(cells)
    return {(y, x): kind(cells, numbers, y, x) for y, x in left}


def counts(truth: Map, proposal: list[list[float]], thresholds: list[float]) -> list[tuple[int, int, int, int]]:
    """Splits, mergers, all residual mismatches and pixels at every threshold."""
    rows = []
    for threshold in thresholds:
        kinds = list(mismatches(truth, proposal, threshold).values())
        rows.append((kinds.count("split"), kinds.count("merger"), len(kinds), len(truth) * len(truth[0])))
    return rows

"""What a partial annotation leaves out, cell by cell and pixel by pixel, as the rules say it."""

import math

import numpy as np


def ignore_unannotated(label, markers=None, silver=None, reach=None):
    """HW whole numbers in and out; -1 where cells are that nobody annotated."""
    pixels = [tuple(p) for p in np.argwhere(np.ones(label.shape, bool))]
    gold = {p for p in pixels if label[p] > 0}
    silver_cells, discs = _objects(silver, pixels), _objects(markers, pixels)
    missing = [cell for cell in silver_cells if not _mostly(cell, gold)]
    ignored = set().union(*missing) - gold
    seen = gold.union(*silver_cells)
    lonely = [disc for disc in discs if not _mostly(disc, seen)]
    if lonely:
        if reach is None:
            reach = _reach(_objects(label, pixels) + [cell - gold for cell in missing], discs)
        ignored |= {p for p in pixels if min(math.dist(p, q) for disc in lonely for q in disc) <= reach} - gold
    out = label.copy()
    for p in ignored:
        out[p] = -1
    return out


def _objects(labels, pixels):
    if labels is None:
        return []
    return [{p for p in pixels if labels[p] == number} for number in sorted(set(labels[labels > 0].tolist()))]


def _mostly(one, other):
    return len(one & other) > len(one) / 2


def _reach(cells, discs):
    reach = -math.inf
    for cell in cells:
        own = set().union(*[disc & cell for disc in discs if _mostly(disc, cell)])
        if own:
            reach = max(reach, *(min(math.dist(p, q) for q in own) for p in cell))
    return math.inf if reach == -math.inf else reach

"""Class and colour of a cell from its number alone, and colours that everybody can tell apart."""

from itertools import combinations

import numpy as np
import pytest
from napari.utils.colormaps import CyclicLabelColormap
from seamless_annotator.numbering import Numbering
from skimage.color import rgb2lab

NAMES = ("background", "round", "rod", "marked")

#: Machado, Oliveira and Fernandes (2009), severity 1, for linear RGB: protanopia, deuteranopia, tritanopia
DEFICIENT = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
    "usual": np.eye(3),
}


def lab(rgb):
    return rgb2lab(np.asarray(rgb)[None])[0]


def seen(rgb, matrix):
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    mixed = np.clip(linear @ np.array(matrix).T, 0, 1)
    return np.where(mixed <= 0.0031308, 12.92 * mixed, 1.055 * mixed ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("count", [2, 4, 8])
def test_there_and_back(count):
    numbering = Numbering([f"c{number}" for number in range(count)])
    random = np.random.default_rng(count)
    classes = np.concatenate([[0], random.integers(1, count, 200)])
    cells = random.integers(-1, 201, (40, 50)).astype(np.int32)
    numbers = numbering.encode(cells, classes)
    assert numbers.dtype == np.int32
    back, kinds = numbering.decode(numbers)
    np.testing.assert_array_equal(back <= 0, cells <= 0)
    np.testing.assert_array_equal(back[cells <= 0], cells[cells <= 0])
    pairs = set(zip(cells.ravel().tolist(), back.ravel().tolist(), strict=True))
    assert len(pairs) == len(np.unique(cells)) == len(np.unique(back))  # one to one
    np.testing.assert_array_equal(kinds[np.maximum(back, 0)], classes[np.maximum(cells, 0)])
    large = numbers.astype(np.int64) + np.where(numbers > 0, numbering.period * 10**7, 0)
    np.testing.assert_array_equal(numbering.decode(large)[0] > 0, cells > 0)


@pytest.mark.parametrize("count", [2, 4])
def test_a_fresh_number_is_above_all_and_of_its_class(count):
    numbering = Numbering([f"c{number}" for number in range(count)])
    for used in range(300):
        for kind in range(1, count):
            fresh = numbering.fresh(used, kind)
            assert fresh > used
            assert fresh <= used + numbering.period
            assert numbering.class_of(np.array(fresh)) == kind
            between = numbering.class_of(np.arange(used + 1, fresh))
            assert kind not in between[between > 0]


def test_napari_paints_a_number_in_the_colour_of_its_class():
    numbering = Numbering(NAMES)
    colours = CyclicLabelColormap(colors=numbering.colours())
    for kind in (1, 2, 3):
        mapped = colours.map(np.array([numbering.number(kind, index) for index in range(40)], np.int32))
        allowed = numbering.colours()[1:][3 * (kind - 1) : 3 * kind]
        assert {tuple(np.round(each, 4)) for each in mapped} == {tuple(np.round(each, 4)) for each in allowed}
    nobody = colours.map(np.array([numbering.not_annotated, numbering.not_annotated * 7], np.int32))
    np.testing.assert_allclose(nobody, [numbering.colours()[-1]] * 2)
    assert colours.map(np.int32(0))[3] == 0


@pytest.mark.parametrize("vision", DEFICIENT)
@pytest.mark.parametrize("count", [2, 3, 4, 7])
def test_colours_are_told_apart(vision, count):
    """CIE 1976 differences; 2.3 is just seen."""
    numbering = Numbering([f"c{number}" for number in range(count)])
    rgb = numbering.colours()[1:, :3]
    looks = lab(np.array([seen(each, DEFICIENT[vision]) for each in rgb]))
    assert min(np.linalg.norm(each - looks[-1]) for each in looks[:-1]) > 30
    if count > 2:
        first = looks[:-1][:: (len(looks) - 1) // (count - 1)]
        assert min(np.linalg.norm(a - b) for a, b in combinations(first, 2)) > 15

"""Cells read off probabilities: labelling, splitting, holes; and what is measured of them."""

from bundle.cells.auto import AutoCellOptions
from bundle.cells.classes import FindClassesd
from bundle.cells.instances import ProbabilityToInstances, ProbabilityToInstancesd, probability_to_instances
from bundle.cells.linking import LinkSlicesd, link_slices
from bundle.cells.measurements import measure
from bundle.cells.options import CellOptions

__all__ = [
    "AutoCellOptions",
    "CellOptions",
    "FindClassesd",
    "LinkSlicesd",
    "ProbabilityToInstances",
    "ProbabilityToInstancesd",
    "link_slices",
    "measure",
    "probability_to_instances",
]

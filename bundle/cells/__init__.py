"""Cells read off probabilities: labelling, splitting, holes, outlines."""

from bundle.cells.auto import AutoCellOptions
from bundle.cells.classes import FindClassesd
from bundle.cells.instances import ProbabilityToInstances, ProbabilityToInstancesd, probability_to_instances
from bundle.cells.linking import LinkSlicesd, link_slices
from bundle.cells.options import CellOptions
from bundle.cells.sizes import cell_sizes

__all__ = [
    "AutoCellOptions",
    "CellOptions",
    "FindClassesd",
    "LinkSlicesd",
    "ProbabilityToInstances",
    "ProbabilityToInstancesd",
    "cell_sizes",
    "link_slices",
    "probability_to_instances",
]

"""Cells of a map that is larger than memory, block by block: those of ``probability_to_instances`` of the whole map."""

from bundle.large.cells.find_cells import FoundCells, find_cells

__all__ = ["FoundCells", "find_cells"]

"""Cells read off probabilities: labelling, splitting, holes, outlines."""

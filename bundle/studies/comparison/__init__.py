"""Comparing runs on one page: what differs between them, how they learnt, and the same images segmented by each."""

from bundle.studies.comparison.compare import write_report

__all__ = ["write_report"]

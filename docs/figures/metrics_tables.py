"""Print the table of evaluate.md: our metrics on the challenge's oracle stacks, and how far from its own values.

``python docs/figures/metrics_tables.py`` reads the stacks and values of tests/oracle.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import tifffile

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bundle.metrics.isbi2012 import MEASURES  # noqa: E402

ORACLE = ROOT / "tests" / "oracle" / "isbi2012_metrics"
#: measure -> its key in the oracle, and whether that is 1 minus the measure
KEYS = {
    "pixel_error": ("pixel_error", False),
    "rand_error": ("rand_f_max", True),
    "warping_error": ("warping_min_splits_mergers", False),
    "v_rand": ("v_rand_thinned", False),
    "v_info": ("v_info_thinned", False),
}


def lines() -> Iterator[str]:
    """A row per stack: our values, and the largest relative difference (absolute where the challenge's value is 0)."""
    expected = json.loads((ORACLE / "expected.json").read_text())["values"]
    truth = tifffile.imread(ORACLE / "truth.tif") > 0
    yield f"| stack | {' | '.join(KEYS)} | largest difference |"
    yield "|---|" + "---:|" * (len(KEYS) + 1)
    for proposal, values in expected.items():
        stack = tifffile.imread(ORACLE / proposal) / 255
        ours = [MEASURES[name](truth, stack) for name in KEYS]
        theirs = [1 - values[key] if complement else values[key] for key, complement in KEYS.values()]
        difference = max(abs(a - b) / (abs(b) or 1.0) for a, b in zip(ours, theirs, strict=True))
        shown = "0" if difference < 1e-15 else f"{difference:.0e}"
        label = proposal.removeprefix("proposal_").removesuffix(".tif").replace("_", " ")
        yield f"| {label} | {' | '.join(f'{value:.10f}' for value in ours)} | {shown} |"


if __name__ == "__main__":
    print("\n".join(lines()))

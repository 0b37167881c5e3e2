"""Print the tables of metrics.md: our value beside the one that the challenge's own program printed.

``python docs/make_metrics_table.py`` reads the stacks and values of tests/oracle.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import tifffile

ROOT = Path(__file__).resolve().parent.parent
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
    """The tables in Markdown, one a measure."""
    expected = json.loads((ORACLE / "expected.json").read_text())["values"]
    truth = tifffile.imread(ORACLE / "truth.tif") > 0
    for name, (key, complement) in KEYS.items():
        yield from (f"| {name} | ours | the challenge's | relative difference |", "|---|---:|---:|---:|")
        for proposal, values in expected.items():
            ours = MEASURES[name](truth, tifffile.imread(ORACLE / proposal) / 255)
            theirs = 1 - values[key] if complement else values[key]
            difference = abs(ours - theirs) / (abs(theirs) or 1.0)
            shown = "0" if difference < 1e-15 else f"{difference:.0e}"
            label = proposal.removeprefix("proposal_").removesuffix(".tif").replace("_", " ")
            yield f"| {label} | {ours:.10f} | {theirs:.10f} | {shown} |"
        yield ""


if __name__ == "__main__":
    print("\n".join(lines()))

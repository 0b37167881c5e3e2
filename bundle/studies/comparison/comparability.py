"""What a reader must know before comparing: other data, another split, other code, runs that did not finish."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bundle.console import listed
from bundle.studies.comparison.mlflow_runs import Run, grouped
from bundle.studies.comparison.run_settings import COMMIT, FINGERPRINT, measured_images

_NAMES = 6


def comparability(runs: Sequence[Run]) -> list[str]:
    """One sentence for everything that forbids, or weakens, a comparison of these runs; none where all is alike."""
    found = []
    parts = dict.fromkeys(run.part for run in runs)
    for part in parts:  # a training and its own measurement may well be of different data
        alike = [run for run in runs if run.part == part]
        data = grouped(alike, lambda run: (run.params.get(FINGERPRINT) or "not recorded")[:12])
        if len(data) > 1:
            found.append(
                f"These runs are of different data and cannot be compared across it: {_told(data)}. "
                "Best values are marked within the same data only."
            )
    found = list(dict.fromkeys(found))  # evaluations are called as their trainings are
    for part in parts:
        # within one fingerprint, or the sentence above would be said twice
        splits = grouped([run for run in runs if run.part == part], measured_images)
        for fingerprint in dict.fromkeys(key[0] for key in splits):
            of_data = [members for key, members in splits.items() if key[0] == fingerprint]
            if len(of_data) > 1:
                kind = "validated" if part is None else f"evaluated on {part}"
                named = {f"split {i}": members for i, members in enumerate(of_data, 1)}
                found.append(
                    f"Runs {kind} on different images of the same data (another split or fold): "
                    f"{_told(named)}. Best values are marked within the same images only."
                )
    code = grouped(runs, lambda run: run.params.get(COMMIT, "not recorded")[:10])
    if len(code) > 1:
        found.append(f"These runs were made by different versions of the code: {_told(code)}.")
    return found


def _told(groups: dict[Any, list[Run]]) -> str:
    return "; ".join(f"{key}: {listed([run.name for run in members], _NAMES)}" for key, members in groups.items())

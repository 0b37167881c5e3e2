"""What came out of a training, for the answer to the request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bundle.atomic import sha256
from bundle.model.card import read_card


def newest_of_runs(bundle: Path, name: str, began: float) -> Path | None:
    """The file of this name that a run has written last; None where none was since ``began``, seconds since 1970."""
    files = [(file.stat().st_mtime, file) for file in (bundle / "runs").glob(f"*/{name}")]
    changed, newest = max(files, default=(0.0, None))
    return newest if changed >= began - 1 else None  # clocks of file systems are coarse


def outcome(bundle: Path, began: float) -> dict[str, Any]:
    """Result and name of the run that ended last in the folder of a bundle, and which network inference reads now.

    Args:
        bundle: with ``runs`` and ``models/model.pt``.
        began: seconds since 1970; runs that ended before are none of it.

    Returns:
        "model", its file and SHA-256; where a run ended "result", its epochs, steps and best metric, and "run".
    """
    model = bundle / "models" / "model.pt"
    found: dict[str, Any] = {"model": {"file": model.name, "sha256": sha256(model)}}
    newest = newest_of_runs(bundle, "card.json", began)
    if newest is None:
        return found
    card = read_card(newest)
    run = {"name": newest.parent.name, "mlflow_run_id": card.get("mlflow_run_id")}
    return {"result": card.get("result", {}), "run": run, **found}

"""What an evaluation is called, and which training its network comes from."""

from __future__ import annotations

import filecmp
import os
from pathlib import Path

from bundle.model import TrainedNetwork
from bundle.tracking.mlflow_run import earlier_run_id

#: tag of an evaluation: id of the MLflow run that trained its checkpoint
TRAINING_TAG = "training_run_id"


def evaluation_folder(root: str, trained: TrainedNetwork, part: str, tta: str = "none") -> str:
    """``root/NAME/part`` or ``root/NAME/part-tta``, with the NAME of the network."""
    return str(Path(root, trained.name, part if tta == "none" else f"{part}-{tta}"))


def evaluation_name(trained: TrainedNetwork, part: str, tta: str = "none") -> str:
    """Name of an evaluation's run in MLflow: ``NAME-part-tta``, with the NAME of its folder."""
    return f"{trained.name}-{part}-{tta}"


def training_tags(checkpoint: str | os.PathLike[str], output_dir: str | os.PathLike[str]) -> dict[str, str]:
    """Tags of an evaluation that name the training of its checkpoint.

    A checkpoint in the folder of a run is that run's. Any other, such as the published ``models/model.pt``, is the
    run's whose ``best.pt`` or ``last.pt`` below ``output_dir`` has the same bytes, the newest one of several.

    Args:
        checkpoint: the file that is measured.
        output_dir: folder of all runs.

    Returns:
        ``{"training_run_id": id}``; nothing where the training is not known, or was not tracked.
    """
    checkpoint = Path(checkpoint)
    found = earlier_run_id(checkpoint.parent)
    if found is None and checkpoint.is_file():
        twins = [
            file
            for name in ("best.pt", "last.pt")
            for file in Path(output_dir).glob(f"*/{name}")
            if file.stat().st_size == checkpoint.stat().st_size and filecmp.cmp(file, checkpoint, shallow=False)
        ]
        known = [(file.stat().st_mtime, run_id) for file in twins if (run_id := earlier_run_id(file.parent))]
        found = max(known)[1] if known else None
    return {TRAINING_TAG: found} if found else {}

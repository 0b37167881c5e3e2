"""MONAI's exports take the network of --checkpoint and read the weights of --ckpt_file, which nobody else looks at."""

from __future__ import annotations

import inspect
import os

from bundle.model import checkpoints
from bundle.model.trained_network import TrainedNetwork

_EXPORTS = "monai.bundle.scripts"


def require_exported(trained: TrainedNetwork) -> None:
    """Check the file that an export in progress will take the weights from, as that of ``trained`` is checked.

    The export names it to nobody: it is found among the variables of the callers. Outside of an export there is nothing
    to check.

    Raises:
        ValueError: for a file that is damaged, not finite, not that of its card, of another network than ``trained``,
            or whose weights do not fit that.
    """
    frame, file = inspect.currentframe(), None
    while frame is not None and file is None:
        file = frame.f_locals.get("ckpt_file_") if frame.f_globals.get("__name__") == _EXPORTS else None
        frame = frame.f_back
    if file is None or (trained.path.is_file() and os.path.samefile(file, trained.path)):
        return
    exported = TrainedNetwork(file, trained.trust_weights)
    own, described = (each.card.get("network") for each in (exported, trained))
    if own is not None and described is not None and own != described:
        raise ValueError(
            f"--ckpt_file {exported} and --checkpoint {trained} are different networks: give one file as both"
        )
    checkpoints.require_fitting_weights(trained.build(), exported.weights, exported.path)

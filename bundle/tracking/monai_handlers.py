"""Taking MONAI's own MLFlowHandlers off an engine, so that a run is tracked once."""

from __future__ import annotations

import logging
import os
from typing import Any

from ignite.engine import Engine
from monai.handlers import MLFlowHandler

logger = logging.getLogger(__name__)


def take_off_mlflow_handlers(engine: Engine) -> list[str]:
    """Remove every MLFlowHandler from an engine, before or while it starts, and before they open their run.

    ``monai.bundle run --tracking mlflow`` adds one to the trainer, the validator and the evaluator.

    Returns:
        the artifacts they had to log, as far as they exist.
    """
    found: dict[int, MLFlowHandler] = {}
    for entries in engine._event_handlers.values():
        for entry in [entry for entry in entries if isinstance(_owner(entry[0]), MLFlowHandler)]:
            found[id(_owner(entry[0]))] = _owner(entry[0])
            # in place: Ignite may be walking this list now, and must not reach their start() any more
            entries.remove(entry)
    if found:
        logger.info("MONAI's MLFlowHandler is left out: the run is tracked already")
    return [path for handler in found.values() for path in handler.artifacts if path and os.path.exists(path)]


def _owner(handler: Any) -> Any:
    """The object whose method is registered; Ignite wraps a method that has an event filter."""
    parent = getattr(handler, "_parent", None)
    return getattr(handler if parent is None else parent(), "__self__", None)

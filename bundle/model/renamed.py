"""Names of earlier versions and their successors: one table for command line, configs, cards, checkpoints and studies.

What a file of an earlier version says is translated when it is read; an option of the command line or an entry of a
config is refused with its successor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["RENAMED", "Renamed", "successor", "translated"]


class Renamed(NamedTuple):
    """One name: where it stood ("option", "cells", "must_match", "param", "study", "component"), and what it is now."""

    where: str
    old: str
    new: str
    note: str = ""


RENAMED = (
    # options of the command line and entries of overlays; "#" separates the parts
    Renamed("option", "averaging", "tta"),
    Renamed("option", "freeze_norm", "freeze_norm_after", "null instead of 1 for never"),
    Renamed("option", "identity", "must_match"),
    Renamed("option", "weigh#0", "separate_touching"),
    Renamed("option", "weigh#1", "weight_map"),
    Renamed("option", "weigh#2", "instances_to_class"),
    Renamed("option", "weigh", "targets"),
    Renamed("option", "augment#0", "elastic"),
    Renamed("option", "augment#1", "gray_curve"),
    Renamed("option", "cells#outline", "cells#low_threshold"),
    Renamed("option", "cells#grow", "cells#close_gaps"),
    Renamed("option", "cells#seeds", "cells#split_by"),
    Renamed("option", "cells#seed_distance", "cells#split_distance"),
    # "cells" of a card
    Renamed("cells", "outline", "low_threshold"),
    Renamed("cells", "grow", "close_gaps"),
    Renamed("cells", "seeds", "split_by"),
    Renamed("cells", "seed_distance", "split_distance"),
    # parameters of a run in MLflow
    Renamed("param", "averaging", "tta"),
    Renamed("param", "freeze_norm", "freeze_norm_after"),
    # entries of a study file, columns of its table
    Renamed("study", "averaging", "tta"),
    Renamed("study", "reference_averaging", "reference_tta"),
)


def successor(where: str, name: str) -> Renamed | None:
    """The entry for a name, or for the longest "#" prefix of it; None for a name that is not an earlier version's."""
    known = {entry.old: entry for entry in RENAMED if entry.where == where}
    parts = name.replace("::", "#").split("#")
    for end in range(len(parts), 0, -1):
        entry = known.get("#".join(parts[:end]))
        if entry is not None:
            return entry._replace(old=name, new="#".join([entry.new, *parts[end:]]))
    return None


def translated(where: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping of an earlier version with today's names; a name that is given in both forms keeps today's value."""
    names = {entry.old: entry.new for entry in RENAMED if entry.where == where}
    found = {names[name]: value for name, value in values.items() if name in names}
    return found | {name: value for name, value in values.items() if name not in names}

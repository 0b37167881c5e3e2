"""Names of earlier versions and their successors: one table for command line, configs, cards, checkpoints and studies.

What a file of an earlier version says is translated when it is read; an option of the command line or an entry of a
config is refused with its successor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from monai.bundle import ConfigParser
from monai.utils import ensure_tuple

from bundle.console import command_line


class Renamed(NamedTuple):
    """One name: where it stood, and what it is now.

    Places are "option", "component", "cells" (of a card), "checkpoint", "must_match", "param", "study" and "file".
    """

    where: str
    old: str
    new: str
    note: str = ""


#: modules that configs name, and where their content is now; below ``bundle.``
_MOVED = {
    "about": "model.card",
    "about.cell_options": "model.TrainedNetwork.cell_options",
    "about.require_unseen": "model.TrainedNetwork.require_unseen",
    "architecture": "model.architecture",
    "architecture.build_network": "model.TrainedNetwork.build",
    "auxiliary": "training.auxiliary_loss",
    "averaging": "inference.tta",
    "backends": "inference.backends",
    "checkpoints": "model.checkpoints",
    "data.ctc_results": "output.ctc_results",
    "data.loading.LoadSlice": "data.load_slice.LoadSlice",
    "data.loading.ReadableItems": "data.readable_items.ReadableItems",
    "engines": "training.batch",
    "handlers": "training",
    **{f"handlers.{name}": f"tracking.{name}" for name in ("MLflowTracker", "TrackMetrics", "TrackTraining")},
    **{f"handlers.{name}": f"tracking.{name}" for name in ("earlier_run_id", "sqlite_uri", "training_tags")},
    "inferers": "inference.overlap_tile",
    "instances": "cells",
    "labelling": "output.label_map",
    "losses": "training.loss",
    "outputs": "output.writer",
    "precision": "inference.precision",
    "runs": "tracking.run_folder",
    "runs.switch": "console.true_or_false",
    "schedules": "training.schedules",
}

RENAMED = (
    # options of the command line and entries of overlays; "#" separates the parts
    Renamed("option", "averaging", "tta"),
    Renamed("option", "freeze_norm", "freeze_norm_after", "null instead of 1 for never"),
    Renamed("option", "identity", "must_match"),
    Renamed("option", "trained_cells", "cells"),
    Renamed("option", "inferer#averaging", "inferer#tta"),
    Renamed("option", "validate#inferer#averaging", "validate#inferer#tta"),
    Renamed("option", "validate#keep", "keep_annotation"),
    Renamed("option", "items#validation", "items#select"),
    # where an option is within such an entry, as weigh#1#w0 is, MONAI's parser misses the entry, by a KeyError or
    # ValueError of its own, before anything of ours runs
    Renamed("option", "weigh#0", "separate_touching"),
    Renamed("option", "weigh#1", "weight_map"),
    Renamed("option", "weigh#2", "instances_to_class"),
    Renamed("option", "weigh", "targets"),
    Renamed("option", "load#0", "load_image_and_label"),
    Renamed("option", "load#1", "standardize"),
    Renamed("option", "load#2", "label_to_instances"),
    Renamed("option", "load#3", "load_markers"),
    Renamed("option", "load#4", "ignore_unannotated"),
    Renamed("option", "augment#0", "elastic"),
    Renamed("option", "augment#1", "gray_curve"),
    Renamed("option", "crop#0", "crop_to_output"),
    Renamed("option", "weight_map#balance", "class_weights", "equal instead of false"),
    Renamed("option", "rgb", "channels", "all instead of refuse"),
    Renamed("option", "load_image_and_label#rgb", "load_image_and_label#channels", "all instead of refuse"),
    Renamed("option", "grid", "cells", "auto for what is to be chosen"),
    Renamed("option", "cells#outline", "cells#low_threshold"),
    Renamed("option", "cells#grow", "cells#close_gaps"),
    Renamed("option", "cells#seeds", "cells#split_by"),
    Renamed("option", "cells#seed_distance", "cells#split_distance"),
    # "cells" of a card
    Renamed("cells", "outline", "low_threshold"),
    Renamed("cells", "grow", "close_gaps"),
    Renamed("cells", "seeds", "split_by"),
    Renamed("cells", "seed_distance", "split_distance"),
    # entries of last.pt; "must_match" has a place for what it holds
    Renamed("checkpoint", "identity", "must_match"),
    # parameters of a run in MLflow
    Renamed("param", "averaging", "tta"),
    Renamed("param", "freeze_norm", "freeze_norm_after"),
    # entries of a study file, columns of its table
    Renamed("study", "averaging", "tta"),
    Renamed("study", "reference_averaging", "reference_tta"),
    # config files
    *(
        Renamed(
            "file", f"configs/networks/fcn{stride}s.json", "configs/networks/fcn.json", f"network_def#stride {stride}"
        )
        for stride in (8, 16, 32)
    ),
    Renamed("file", "configs/ablation/same_padding.json", "configs/networks/unet_same.json"),
    # a component's "_target_"
    *(Renamed("component", f"bundle.{old}", f"bundle.{new}") for old, new in _MOVED.items()),
)


def successor(where: str, name: str) -> Renamed | None:
    """The entry for a name, or for the longest prefix of it in whole parts; None for one of no earlier version."""
    known = {entry.old: entry for entry in RENAMED if entry.where == where}
    between = "." if where == "component" else "#"
    parts = name.replace("::", "#").split(between)
    for end in range(len(parts), 0, -1):
        entry = known.get(between.join(parts[:end]))
        if entry is not None:
            return entry._replace(old=name, new=between.join([entry.new, *parts[end:]]))
    return None


def translated(where: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping of an earlier version with today's names; a name that is given in both forms keeps today's value."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        entry = successor(where, name)
        if entry is None:
            found[name] = value
        elif entry.new not in values:
            found[entry.new] = _value(entry.new, value)
    return found


def _value(name: str, value: Any) -> Any:
    if name == "freeze_norm_after" and value in (1, "1", "1.0"):
        return "null" if isinstance(value, str) else None
    return "all" if name.split("#")[-1] == "channels" and value == "refuse" else value


def require_current_names(arguments: Sequence[str] | None = None) -> None:
    """Refuse what an earlier version named otherwise: options of ``monai.bundle run``, and entries of its config files.

    Args:
        arguments: of the command line; None takes this process's. Without ``--config_file`` nothing is checked.

    Raises:
        ValueError: naming the successor.
    """
    options = command_line(arguments)
    if "config_file" not in options:
        return
    for name in options:
        _refuse("option", name, f"option --{name}", "--")
    for file in ensure_tuple(options["config_file"]):
        content = ConfigParser.load_config_file(file)
        for where, name in _names(content):
            _refuse(where, name, f"{name} in {file}")
        cells = content.get("cells")
        if isinstance(cells, Mapping) and "_target_" not in cells:
            raise ValueError(f'"cells" in {file} is a component now: give single options, as "cells#threshold": 0.5')


def _refuse(where: str, name: str, what: str, prefix: str = "") -> None:
    entry = successor(where, name)
    if entry is not None:
        raise ValueError(f"{what} is called {prefix}{entry.new} now{', ' if entry.note else ''}{entry.note}")


def _names(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Entries of a config by their path, and targets of components."""
    if isinstance(value, list):
        for item in value:
            yield from _names(item, f"{path}#")
    for key, item in value.items() if isinstance(value, Mapping) else ():
        name = f"{path}#{key}" if path else key.removeprefix("+")
        yield "option", name
        if key == "_target_" and isinstance(item, str):
            yield "component", item
        yield from _names(item, name)

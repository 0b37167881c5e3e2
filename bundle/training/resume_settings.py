"""Which settings of a config fix what is trained: a resumed run must have the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from torch.optim import Optimizer

from bundle.tracking.config import flat_config

#: entries that may differ: where things lie, how long it trains, what is recorded, on what machine
_FREE = (
    *("bundle_root", "dataset_dir", "layout", "output_dir", "model_file", "run_name", "resume", "resuming", "run_dir"),
    *("tracking_uri", "experiment_name", "tracker", "publish", "max_epochs", "patience", "val_interval", "device"),
    *("network", "initialize", "finalize", "validate", "labelled", "items", "must_match", "data_fingerprint"),
    *("pretrained", "pretrained_network", "trust_weights", "minutes", "length", "plan", "check_page", "workers"),
)
#: of others, what changes the speed alone
_FREE_WITHIN = ("optimizer.fused",)
#: of "train", only what the network sees
_FREE_IN_TRAIN = ("items", "dataset", "dataloader", "sampler", "handlers", "trainer", "key_metric")
#: settings in the groups of an optimizer that a person chooses, but for the rate
_OPTIMIZER = ("momentum", "betas", "weight_decay", "nesterov", "dampening")
#: entries that older runs do not have -> the value with which a training does what it did without them
_ADDED = {"elastic.scale_range": "0.0"}


def training_settings(config: Mapping[str, Any] | ConfigParser | None, but: Sequence[str] = ()) -> dict[str, str]:
    """Path -> text of every value that fixes what is trained, without the entries ``but``; empty without a config."""
    found = {}
    for name, value in flat_config(config) if config is not None else ():
        first, *rest = name.split(".")
        within_train = first == "train" and rest and rest[0] in _FREE_IN_TRAIN
        if first in _FREE or first in but or within_train or name in _FREE_WITHIN:
            continue
        found[name] = value
    return found


def changed_settings(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What differs, for a message: what only one of them knows is no match either, but for what changes nothing."""
    unused = {name for name in now if "@gray_values" not in now.values() and name.startswith(("gray_values.", "blur."))}
    before = {**{name: value for name, value in _ADDED.items() if name in now}, **before}
    return [
        f"{name} {now.get(name, 'not given')} instead of {before.get(name, 'not given')}"
        for name in {**now, **before}
        if before.get(name) != now.get(name) and (name not in unused or name in before)
    ]


def how_to_resume(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """What to do with a run whose settings were ``before``; it may have begun with what was the default then."""
    sgd = "torch.optim.SGD"
    overlay = ""
    if before.get("optimizer._target_") == sgd != now.get("optimizer._target_"):
        overlay = "sgd"
    elif "@gray_values" in now.values() and "@gray_values" not in before.values():
        overlay = "fewer_changes"
    told = f" (with configs/ablation/{overlay}.json right behind train.json, if nothing else had set these)"
    return f"repeat its command{told if overlay else ''} and add --resume true, or start a new run"


def require_same_optimizer(fresh: Optimizer, state: Mapping[str, Any], path: Path) -> None:
    """Check that an optimizer has the settings of its state in the checkpoint ``path``, which would replace them.

    Raises:
        ValueError: naming those that differ.
    """
    for group, kept in zip(fresh.param_groups, state["param_groups"], strict=False):
        # a schedule moves the rate, and some the momentum, away from where they began
        now = {"lr": group.get("initial_lr", group["lr"])} | {name: group[name] for name in _OPTIMIZER if name in group}
        before = {**kept, "lr": kept.get("initial_lr", kept["lr"])}
        scheduled = ("momentum", "betas") if "max_momentum" in kept else ()
        changed = [
            f"{name} {value} instead of {before[name]}"
            for name, value in now.items()
            if name in before and name not in scheduled and before[name] != value
        ]
        sgd = "momentum" in kept and "momentum" not in group
        if changed or sgd:
            what = ", ".join(changed) or f"{type(fresh).__name__} instead of SGD"
            raise ValueError(
                f"{path} belongs to a run whose optimizer has other settings ({what}): "
                + how_to_resume({"optimizer._target_": "torch.optim.SGD"} if sgd else {}, {})
            )

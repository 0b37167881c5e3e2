"""What a trial was begun with, so that other settings are not mixed into the same mean later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monai.bundle import ConfigParser

from bundle.cells.auto import AUTO
from bundle.model.renamed import translated
from bundle.studies.trial import Trial, recorded_trials
from bundle.tracking.config import flat_config

#: of one trial: ``variant``, ``seed``, ``fold``, ``data`` (fingerprint), ``settings``, and ``evaluations``, settings by
#: the names of their folders
Record = dict[str, Any]

# where a run lies, not what it is
_PLACES = (
    *("dataset_dir", "output_dir", "model_file", "tracking_uri", "run_name", "resume", "tracker", "checkpoint"),
    *("publish", "evaluation_dir"),
)
# of version 0.1: how it put together what other entries say
_WIRING = ("train", "validate", "items", "labelled", "parts")
# the default optimizer was SGD before AdamW
_OF_SGD = " (those of SGD, the default before: configs/ablation/sgd.json right behind train.json in its config_files)"


def settings_of(config: Mapping[str, Any] | ConfigParser) -> dict[str, str]:
    """Every value of an executed config by its path, but for where files lie."""
    return {name: value for name, value in flat_config(config) if name.split(".")[0] not in _PLACES}


def require_same_settings(trials: Sequence[Trial], records: Mapping[str, Record]) -> None:
    """Check that what is there already was begun with the settings of now.

    That are the folders of these trials, and recorded trials of the same variants with other seeds: tables and chart
    have both, as one mean.

    Raises:
        FileExistsError: otherwise; the message names what differs.
    """
    for trial in trials:
        if trial.run.begun and not trial.record_file.is_file():
            raise FileExistsError(
                f"{trial.run.path} was not made by study {trial.study.name}: move it, or choose another output_dir"
            )
    asked = {record["variant"]: record for record in records.values()}
    for trial in recorded_trials(trials[0].study, trials[0].paths):
        if trial.variant in asked and trial.run.begun:
            own = records.get(trial.name)
            _require_same(trial, own or asked[trial.variant], others=own is None)


def _require_same(trial: Trial, record: Record, others: bool) -> None:
    """``others``: the record is of another seed or fold."""
    before = trial.record() or {}
    changed = _differing(before["settings"] if "settings" in before else before["config"], record["settings"])
    changed = {name: pair for name, pair in changed.items() if not others or name not in ("seed", "fold")}
    if before["data"] != record["data"]:
        changed["data"] = (before["data"], record["data"])
    if changed:
        told = [f"{name} {now} instead of {then}" for name, (then, now) in changed.items()]
        raise FileExistsError(
            f"run {trial.name}{', which the same mean would have,' if others else ''} was begun with other settings "
            f"({', '.join(told[:5])}): restore them{_OF_SGD if 'optimizer.lr' in changed else ''}, move "
            f"{trial.run.path} and {trial.record_file} away, or choose another output_dir; --accept_changes continues "
            "nevertheless"
        )
    for name, settings in record["evaluations"].items() if not others else ():
        folder = trial.run.path / "evaluation" / name
        earlier = before.get("evaluations", {}).get(name)
        if earlier is not None and (folder / "summary.csv").is_file() and _differing(earlier, settings):
            raise FileExistsError(
                f"evaluation {name} of run {trial.name} was made with other settings: move {folder} away to have it "
                "repeated; --accept_changes continues nevertheless"
            )


def _differing(earlier: Mapping[str, Any], now: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Settings that are not the same: name -> (then, now)."""
    if all(isinstance(value, str) for value in earlier.values()):
        names = {**earlier, **now}
    else:  # of version 0.1: references and modules of its configs are others today
        earlier = _of_version_0_1(earlier)
        # how cells are read was no choice then: the network is the same, and its card says it
        told = {name: value for name, value in now.items() if value != AUTO and not value.startswith(("@", "$"))}
        names = {name: value for name, value in told.items() if name in earlier}
        if now.get("channels") == "null":  # of an evaluation: those of the training, which is compared as well
            names.pop("channels", None)
    both = {name: (earlier.get(name, "absent"), now.get(name, "absent")) for name in names}
    return {name: pair for name, pair in both.items() if pair[0] != pair[1]}


def _of_version_0_1(config: Mapping[str, Any]) -> dict[str, str]:
    """The plain values of a config as it stood in the files, by their names of today; without its wiring."""
    plain = {
        name.replace(".", "#"): value
        for name, value in settings_of({key: entry for key, entry in config.items() if key not in _WIRING}).items()
        if not name.endswith("_target_") and not value.startswith(("@", "$"))
    }
    return {name.replace("#", "."): value for name, value in translated("option", plain).items()}

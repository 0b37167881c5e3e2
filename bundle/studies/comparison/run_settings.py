"""The settings of a run, without bookkeeping: the part of its parameters that may differ between runs."""

from __future__ import annotations

from collections.abc import Sequence

from bundle.studies.comparison.mlflow_runs import CONFIG, Run

SEED = "seed"
COMMIT = "provenance.git_commit"
FINGERPRINT = "provenance.data_fingerprint"

_PROVENANCE, _EVALUATION = "provenance.", "evaluation."
#: where a run is kept, and what follows from other settings; data are identified by their fingerprint, not by path
_BOOKKEEPING = {
    "run_name", "run_dir", "output_dir", "evaluation_dir", "model_file", "bundle_root", "dataset_dir", "images",
    "tracker", "experiment_name", "tracking_uri", "resume", "resuming", "checkpoint", "epoch_length",
    "data_fingerprint", "trained", "pretrained_network", "publish", "identity", "must_match",
    "check_page",
}  # fmt: skip
#: of no effect on an evaluation, which takes them from its checkpoint
_TRAINING_ONLY = {
    "seed", "train", "optimizer", "lr_scheduler", "augment", "elastic", "gray_curve", "blur", "gray_values", "turn",
    "crop", "crop_to_output", "balanced_windows", "network_def", "base_channels", "depth", "tile_size", "max_epochs",
    "samples_per_epoch", "patience", "best_by", "val_interval",
}  # fmt: skip
#: of the provenance: no fact of its own, or shown for every run
_DERIVED = (f"{_PROVENANCE}config_sha256", COMMIT, FINGERPRINT)
_SPLIT = ("held_out", "fold", "folds", "blocks", "split_seed", "validation")


def settings(run: Run, training: Run | None = None) -> dict[str, str]:
    """Name -> value of every setting: the short names, and config paths that no short name stands for.

    Args:
        run: a training or an evaluation.
        training: of the evaluation's checkpoint; its settings are the evaluation's too, and its seed counts. What
            both have is the training's, and as ``evaluation.<name>`` the evaluation's.
    """
    own = _own(run)
    if run.part is None:
        return own
    own = {name: value for name, value in own.items() if name.split(".")[0] not in _TRAINING_ONLY}
    if training is None:
        return {"checkpoint": run.params["checkpoint"], **own}
    found = _own(training)
    return found | {(_EVALUATION + name if name in found else name): value for name, value in own.items()}


def differing(all_settings: Sequence[dict[str, str]]) -> list[str]:
    """Names whose values are not the same for all, short names before config paths; the seed comes last.

    Settings that evaluations share with their trainings are not repeated.
    """
    names = dict.fromkeys(name for each in all_settings for name in each)
    different = []
    for name in names:
        trained = name.removeprefix(_EVALUATION)
        repeated = trained != name and all(each.get(name) == each.get(trained) for each in all_settings)
        if not repeated and len({each.get(name) for each in all_settings}) > 1:
            different.append(name)
    return sorted(different, key=lambda name: (name == SEED, "." in name))


def measured_images(run: Run) -> tuple[str | None, ...]:
    """Equal for runs whose metrics are of the same images: the data's fingerprint, and how they were split."""
    names = {"all": (), "held_out": _SPLIT[:-1]}.get(run.part or "", _SPLIT)
    return run.params.get(FINGERPRINT), run.part, *(_value(run, name) for name in names)


def _value(run: Run, name: str) -> str | None:
    """An entry of the config as one text; a list is logged by its items."""
    items = [f"{key}={value}" for key, value in run.params.items() if key.startswith(f"{CONFIG}{name}.")]
    return ", ".join(sorted(items)) or run.params.get(CONFIG + name, run.params.get(name))


def provenance(runs: Sequence[Run]) -> dict[str, dict[str, list[str]]]:
    """Facts of the provenance that are not the same for all, data and commit apart: name -> value -> runs."""
    names = dict.fromkeys(n for run in runs for n in run.params if n.startswith(_PROVENANCE) and n not in _DERIVED)
    found = {}
    for name in names:
        values: dict[str, list[str]] = {}
        for run in runs:
            values.setdefault(run.params.get(name, "not recorded"), []).append(run.name)
        if len(values) > 1:
            found[name.removeprefix(_PROVENANCE).removeprefix("package.")] = values
    return found


def _own(run: Run) -> dict[str, str]:
    short = {n: v for n, v in run.params.items() if not n.startswith((CONFIG, _PROVENANCE))}
    # the config itself says which entry a short name stands for: config.tracker.params.lr is "@optimizer#lr"
    stands_for = [
        value[1:].replace("::", "#").replace("#", ".")
        for name, value in run.params.items()
        if name.startswith(f"{CONFIG}tracker.params.") and value.startswith("@")
    ]
    found = {name: value for name, value in short.items() if name.split(".")[0] not in _BOOKKEEPING}
    for name, value in run.params.items():
        path = name.removeprefix(CONFIG)
        if path == name or path.split(".")[0] in _BOOKKEEPING or path in short:
            continue
        if not any(path == entry or path.startswith(f"{entry}.") for entry in stands_for):
            found[path] = value
    return found

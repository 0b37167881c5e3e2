"""What must be true of a study before anything is trained: a wrong name in the last variant costs hours."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from bundle.console import did_you_mean, own_cause, require_known_options
from bundle.data.splits import pick
from bundle.model.architecture import require_known_network
from bundle.studies import commands
from bundle.studies.definition import Run, Study, Variant
from bundle.studies.places import Places
from bundle.tracking.config import executed_config, flat_config

__all__ = ["check_earlier_runs", "check_other_seeds", "check_study", "with_earlier"]

# where a run is stored, not what it is
_PLACES = ("dataset_dir", "output_dir", "model_file", "publish", "tracking_uri", "run_name", "resume", "tracker")
# what can be made without the folder of a run: of every run, of the first one of a variant, of its evaluations
_SPLITS = ("train#items", "validate#items")
_PARTS = (*_SPLITS, "train#preprocessing", "validate#preprocessing", "network_def")
_EVALUATION = ("validate#inferer", "validate#postprocessing")


def check_study(study: Study, runs: Sequence[Run], places: Places) -> dict[str, dict[str, Any]]:
    """Parse every config of a study, and make its data lists, transforms and networks once.

    Returns:
        what a run is, by its name: its variant, seed and fold, its executed config without its places, and the
        data's fingerprint.

    Raises:
        FileNotFoundError: for a config file or a data set that is not there.
        ValueError: for an unknown option, metric or part, for what a component refuses, and for two variants that
            are the same training.
    """
    for name in _files(study):
        _require_file(name, study)
    for variant in study.variants.values():
        _require_kept(study, variant)
    firsts: dict[str, Run] = {}
    records: dict[str, dict[str, Any]] = {}
    for run in runs:
        first = firsts.setdefault(run.variant, run)
        command = commands.training(study, run, places)
        with _naming(f"run {run.name}"):
            require_known_options(command.words("run"))
            parser = command.parser()
            require_known_network(parser)
            for entry in _PARTS if run is first else _SPLITS:
                parser.get_parsed_content(entry)
            records[run.name] = {
                **{"variant": run.variant, "seed": run.seed, "fold": run.fold},
                "data": parser.get_parsed_content("data_fingerprint") if run is first else records[first.name]["data"],
                "config": _without_places(parser),
                "evaluations": _evaluations(study, run, places),
            }
        if run is first:
            _check_evaluations(study, run, places)
    settings = {variant: _settings(records[run.name]) for variant, run in firsts.items()}
    for one, other in combinations(settings, 2):
        if settings[one] == settings[other]:
            raise ValueError(
                f"variants {one} and {other} of study {study.name} are the same training: give them different config "
                "files or options"
            )
    return records


def check_earlier_runs(runs: Sequence[Run], records: dict[str, dict[str, Any]], places: Places) -> None:
    """Check that the folders of runs that are there already belong to this study, with the same settings.

    Raises:
        FileExistsError: otherwise; the message names what differs.
    """
    for run in runs:
        folder, file = places.run_dir(run), places.record(run)
        if not folder.exists():
            continue
        if not file.is_file():
            raise FileExistsError(f"{folder} was not made by study {run.study}: move it, or choose another output_dir")
        before = json.loads(file.read_text("utf-8"))
        changed = _changed(before, records[run.name])
        if changed:
            raise FileExistsError(
                f"run {run.name} was begun with other settings ({', '.join(changed[:5])}): restore them, move {folder} "
                "away, or choose another output_dir; --accept_changes continues nevertheless"
            )
        for name, config in before.get("evaluations", {}).items():
            table = places.run_dir(run) / "evaluation" / name / "summary.csv"
            if table.is_file() and records[run.name]["evaluations"].get(name, config) != config:
                raise FileExistsError(
                    f"evaluation {name} of run {run.name} was made with other settings: move {table.parent} away to "
                    "have it repeated; --accept_changes continues nevertheless"
                )


def check_other_seeds(records: Mapping[str, dict[str, Any]], places: Places) -> None:
    """Check that recorded runs which are not asked for now have the settings of those of their variant that are.

    Tables and chart have both, as one mean.

    Raises:
        FileExistsError: otherwise; the message names what differs.
    """
    asked = {record["variant"]: record for record in records.values()}
    for file in sorted((places.folder / "records").glob("*.json")):
        before = json.loads(file.read_text("utf-8"))
        if file.stem in records or before["variant"] not in asked or not (places.output_dir / file.stem).exists():
            continue
        changed = _changed(before, asked[before["variant"]], but_for=("seed", "fold"))
        if changed:
            raise FileExistsError(
                f"run {file.stem}, which the same mean would have, was begun with other settings "
                f"({', '.join(changed[:5])}): restore them, move {places.output_dir / file.stem} and {file} away, or "
                "choose another output_dir; --accept_changes continues nevertheless"
            )


def _changed(before: dict[str, Any], record: dict[str, Any], but_for: Sequence[str] = ()) -> list[str]:
    """What differs between the settings of two records, for a person."""
    earlier, now = _settings(before), _settings(record)
    return [
        f"{name} {now.get(name, 'absent')} instead of {earlier.get(name, 'absent')}"
        for name in {**earlier, **now}
        if earlier.get(name) != now.get(name) and name not in but_for
    ]


def with_earlier(record: dict[str, Any], file: Path) -> dict[str, Any]:
    """The record of a run with the evaluations of other parts that an earlier one, in ``file``, tells of."""
    earlier = json.loads(file.read_text("utf-8")).get("evaluations", {}) if file.is_file() else {}
    return {**record, "evaluations": {**earlier, **record["evaluations"]}}


def _evaluations(study: Study, run: Run, places: Places) -> dict[str, Any]:
    """The executed configs of a training's evaluations, by their folders' names."""
    return {
        f"{study.part}-{averaging}": _without_places(commands.evaluation(study, run, averaging, places).parser())
        for averaging in study.averaging_of(run.variant)
    }


def _without_places(parser: ConfigParser) -> dict[str, Any]:
    out = (*_PLACES, "checkpoint", "evaluation_dir")
    return {key: value for key, value in executed_config(parser).items() if key not in out}


def _settings(record: dict[str, Any]) -> dict[str, str]:
    return {**dict(flat_config(record["config"])), "data": record["data"]}


def _files(study: Study) -> list[str]:
    overlays = [file for variant in study.variants.values() for file in variant.config_files]
    return [*study.config_files, *overlays, *study.evaluation_files]


def _require_file(name: str, study: Study) -> None:
    path = Path(name)
    if not path.is_file():
        beside = [str(other) for other in sorted(path.parent.glob("*.json"))]
        hint = did_you_mean(name, beside) if beside else "run the study from the bundle's own folder"
        raise FileNotFoundError(f"config file {name} of study {study.name} does not exist: {hint}")
    try:
        ConfigParser.load_config_file(name)
    except ValueError as error:
        raise ValueError(f"config file {name} of study {study.name} is not JSON: {error}") from None


def _require_kept(study: Study, variant: Variant) -> None:
    """The study's options come after all config files: none of them may take back what makes a variant."""
    for file in variant.config_files:
        for entry in ConfigParser.load_config_file(file):
            for option in study.options:
                if commands.overlap(entry, option):
                    raise ValueError(
                        f"option {option!r} of study {study.name} takes back {entry!r} of {file}, which makes variant "
                        f"{variant.name}: put it into a config file of the study, which come before those of a variant"
                    )


def _check_evaluations(study: Study, run: Run, places: Places) -> None:
    for averaging in study.averaging_of(run.variant):
        command = commands.evaluation(study, run, averaging, places)
        with _naming(f"evaluation of {run.name}"):
            require_known_options(command.words("run"))
            parser = command.parser()
            for metric in study.metrics:
                if metric not in parser["validate"]["metrics"]:
                    known = did_you_mean(metric, parser["validate"]["metrics"])
                    raise ValueError(f"metrics of study {study.name} has an unknown {metric!r}: {known}")
            pick(parser.get_parsed_content("parts"), study.part)
            for entry in _EVALUATION:
                parser.get_parsed_content(entry)


@contextmanager
def _naming(what: str) -> Iterator[None]:
    """Put before an error whose it is; of MONAI's chain of errors only the one that helps is kept."""
    try:
        yield
    except Exception as error:
        cause = own_cause(error) or error
        kind = FileNotFoundError if isinstance(cause, FileNotFoundError) else ValueError
        raise kind(f"{what}: {cause}") from error

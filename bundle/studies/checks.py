"""What must be true of a study before anything is trained: a wrong name in the last variant costs hours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path

from monai.bundle import ConfigParser

from bundle.console import did_you_mean, own_cause, require_known_options
from bundle.data.splits import pick
from bundle.model.architecture import require_known_network
from bundle.model.renamed import require_current_names, successor
from bundle.studies.commands import Command, overlap
from bundle.studies.definition import Study, Variant
from bundle.studies.records import Record, settings_of
from bundle.studies.trial import Trial

# what can be made without the folder of a run: of every run, of the first one of a variant, of its evaluations
_SPLITS = ("train#items", "validate#items")
_PARTS = (*_SPLITS, "train#preprocessing", "validate#preprocessing", "network_def")
_EVALUATION = ("validate#inferer", "validate#postprocessing")


def check_trials(study: Study, trials: Sequence[Trial]) -> dict[str, Record]:
    """Parse every config of a study, and make its data lists, transforms and networks once.

    Returns:
        what a trial is, by its name: see :data:`bundle.studies.records.Record`.

    Raises:
        FileNotFoundError: for a config file or a data set that is not there.
        ValueError: for an unknown option, metric or part, for what a component refuses, and for two variants that
            are the same training.
    """
    overlays = [file for variant in study.variants.values() for file in variant.config_files]
    for name in (*study.config_files, *overlays, *study.evaluation_files):
        _require_file(name, study)
    for variant in study.variants.values():
        _require_kept(study, variant)
    firsts: dict[str, Record] = {}
    records: dict[str, Record] = {}
    for trial in trials:
        record = _checked(trial, firsts.get(trial.variant))
        firsts.setdefault(trial.variant, record)
        records[trial.name] = record
    for one, other in combinations(firsts.values(), 2):
        if (one["settings"], one["data"]) == (other["settings"], other["data"]):
            raise ValueError(
                f"variants {one['variant']} and {other['variant']} of study {study.name} are the same training: give "
                "them different config files or options"
            )
    return records


def _checked(trial: Trial, first: Record | None) -> Record:
    """The record of a trial; what its variant's ``first`` one has shown is not made again."""
    ttas = trial.study.tta_of(trial.variant)
    evaluations = {trial.evaluation_dir(tta).name: trial.evaluation(tta) for tta in ttas}
    with _naming(f"run {trial.name}"):
        parser = _parsed(trial.training())
        require_known_network(parser=parser)
        for entry in _PARTS if first is None else _SPLITS:
            parser.get_parsed_content(entry)
        record = {
            **{"variant": trial.variant, "seed": trial.seed, "fold": trial.fold},
            "data": parser.get_parsed_content("data_fingerprint") if first is None else first["data"],
            "settings": settings_of(parser),
            "evaluations": {name: settings_of(command.parser()) for name, command in evaluations.items()},
        }
    if first is None:
        for each in evaluations.values():
            with _naming(f"evaluation of {trial.name}"):
                _check_evaluation(trial.study, _parsed(each))
    return record


def _parsed(command: Command) -> ConfigParser:
    words = command.words("run")
    require_current_names(words)
    require_known_options(words)
    return command.parser()


def _check_evaluation(study: Study, parser: ConfigParser) -> None:
    for metric in study.metrics:
        if metric not in parser["validate"]["metrics"]:
            known = did_you_mean(metric, parser["validate"]["metrics"])
            raise ValueError(f"metrics of study {study.name} has an unknown {metric!r}: {known}")
    pick(parser.get_parsed_content("parts"), study.part)
    for entry in _EVALUATION:
        parser.get_parsed_content(entry)


def _require_file(name: str, study: Study) -> None:
    path = Path(name)
    if not path.is_file():
        beside = [str(other) for other in sorted(path.parent.glob("*.json"))]
        hint = did_you_mean(name, beside) if beside else "run the study from the bundle's own folder"
        if (now := successor("file", name)) is not None:
            hint = f"it is {now.new} now{', with ' if now.note else ''}{now.note}"
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
                if overlap(entry, option):
                    raise ValueError(
                        f"option {option!r} of study {study.name} takes back {entry!r} of {file}, which makes variant "
                        f"{variant.name}: put it into a config file of the study, which come before those of a variant"
                    )


@contextmanager
def _naming(what: str) -> Iterator[None]:
    """Put before an error whose it is; of MONAI's chain of errors only the one that helps is kept."""
    try:
        yield
    except Exception as error:
        cause = own_cause(error) or error
        kind = FileNotFoundError if isinstance(cause, FileNotFoundError) else ValueError
        raise kind(f"{what}: {cause}") from error

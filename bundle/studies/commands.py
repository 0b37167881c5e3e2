"""The command lines of a study: what a person would type for one training or one evaluation."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fire.parser import DefaultParseValue
from monai.bundle import ConfigParser

from bundle.studies.definition import Run, Study
from bundle.studies.places import Places
from bundle.tracking.lineage import TRAINING_TAG

__all__ = ["Command", "argument", "evaluation", "training"]


@dataclass(frozen=True)
class Command:
    """``python -m monai.bundle run RUN_ID --config_file FILES --option value ...``, not yet run."""

    run_id: str
    config_files: tuple[str, ...]
    options: Mapping[str, Any]

    def words(self, *launcher: str) -> list[str]:
        """The command line, of this Python unless a launcher is given."""
        start = launcher or (sys.executable, "-m", "monai.bundle", "run")
        files = self.config_files[0] if len(self.config_files) == 1 else argument(list(self.config_files))
        options = [word for name, value in self.options.items() for word in (f"--{name}", argument(value))]
        return [*start, self.run_id, "--config_file", files, *options]

    def parser(self) -> ConfigParser:
        """The config as ``monai.bundle run`` would have it."""
        parser = ConfigParser()
        parser.read_config(list(self.config_files))
        parser.update(dict(self.options))
        return parser


def argument(value: Any) -> str:
    """A value as one word of the command line, from which ``fire`` reads the same value again.

    None becomes the expression ``$None``: MONAI leaves out an option whose value is None.
    """
    if value is None:
        return "$None"
    if isinstance(value, str) and not value.startswith("-") and DefaultParseValue(value) == value:
        return value
    text = json.dumps(value)  # its quotes need no others in a shell; but true and null are no words of Python
    return text if DefaultParseValue(text) == value else repr(value)


def training(study: Study, run: Run, places: Places, parent: str | None = None, resume: bool = False) -> Command:
    """One training of a study; ``parent`` is the id of the study's run in MLflow."""
    variant = study.variants[run.variant]
    options = _options(study, run, places) | {
        "model_file": str(places.model_file(run)),
        "publish": "always",
        "run_name": run.name,
        "tracker#tags": _tags(run, "training", parent),
    }
    if resume:
        options["resume"] = True
    return Command("training", (*study.config_files, *variant.config_files), options)


def evaluation(study: Study, run: Run, averaging: str, places: Places, parent: str | None = None) -> Command:
    """One evaluation of a training; ``parent`` is the id of the training's run in MLflow.

    Options that concern an entry which the evaluation's files set (``network_def``: the checkpoint tells what the
    network is; ``labelled#labels`` of gold truth) are left out.
    """
    files = study.evaluation_files
    entries = {entry for file in files for entry in ConfigParser.load_config_file(file)}
    given = _options(study, run, places)
    inherited = {name: value for name, value in given.items() if not any(overlap(name, entry) for entry in entries)}
    options = inherited | {
        "checkpoint": str(places.run_dir(run) / "best.pt"),
        "part": study.part,
        "tta": averaging,
        "evaluation_dir": str(places.evaluation_dir(run, study.part, averaging)),
        "tracker#run_name": f"{run.name}-{study.part}-{averaging}",
        "tracker#tags": _tags(run, "evaluation", parent, averaging=averaging),
    }
    return Command("evaluating", (*study.config_files, *study.variants[run.variant].config_files, *files), options)


def overlap(one: str, other: str) -> bool:
    """Whether two entries of a config are the same, or one is within the other."""
    first, second = (f"{name.removeprefix('+').replace('::', '#')}#" for name in (one, other))
    return first.startswith(second) or second.startswith(first)


def _options(study: Study, run: Run, places: Places) -> dict[str, Any]:
    where = {"dataset_dir": places.dataset_dir, "output_dir": str(places.output_dir)}
    repeat = {"seed": run.seed, "fold": run.fold, "experiment_name": study.name, "tracking_uri": places.tracking_uri}
    given = {name: value for name, value in {**where, **repeat}.items() if value is not None}
    return {**study.options, **study.variants[run.variant].options, **given}


def _tags(run: Run, stage: str, parent: str | None, **more: str) -> dict[str, str]:
    fold = {} if run.fold is None else {"fold": str(run.fold)}
    known = {"study": run.study, "variant": run.variant, "seed": str(run.seed), **fold, "stage": stage, **more}
    if parent is not None:
        known["mlflow.parentRunId"] = parent
        if stage == "evaluation":
            known[TRAINING_TAG] = parent
    return known

"""``python -m bundle.studies.feature_maps --study FILE --dataset_dir DIR``: maps of the trials that are complete."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bundle.atomic import replacing, write_text
from bundle.console import own_cause, require_known_options
from bundle.studies.__main__ import arguments, open_study
from bundle.studies.__main__ import main as run_study
from bundle.studies.definition import Study
from bundle.studies.feature_maps.branch_maps import maps_of, tuning_images
from bundle.studies.feature_maps.kernel_rule import pairs
from bundle.studies.feature_maps.map_pictures import colour_scales, draw_run, draw_sheet
from bundle.studies.feature_maps.map_statistics import STATISTICS
from bundle.studies.feature_maps.rule_text import rule_text, write_pairs, write_statistics
from bundle.studies.summary import collect
from bundle.studies.trial import StudyPaths, Trial, recorded_trials
from bundle.tracking import earlier_run_id
from bundle.tracking.mlflow_store import import_mlflow, log_artifact, reason

logger = logging.getLogger(__name__)

#: options of a study that say what is run, not of what maps are drawn
_OF_RUNNING = ("variants", "seeds", "part", "minutes", "report_only", "accept_changes")


def main(argv: Sequence[str] | None = None) -> int:
    """Command line.

    Returns:
        0; 2 when there is nothing to be shown; of a study that is run first, its status unless that is 0.
    """
    parser = argparse.ArgumentParser(
        prog="python -m bundle.studies.feature_maps",
        allow_abbrev=False,
        description="Score maps of the DCN's branches on the validation images: pictures, statistics, and how often "
        "the rule 'shrink the kernel of the weakest branch' was right. May be repeated while the study runs.",
        epilog="All other options are those of python -m bundle.studies, --study FILE among them, as the study was "
        "given them.",
    )
    parser.add_argument("--images", type=int, default=3, help="validation images to look at (default 3)")
    parser.add_argument("--run", action="store_true", help="run the study first, or go on with it")
    own, words = parser.parse_known_args(argv)
    status = run_study(words) if own.run else 0
    if status not in (0, 1):  # 1: a training failed, and others are complete
        return status
    try:
        given, options = arguments(words)
        for name in _OF_RUNNING if not own.run else ():
            if getattr(given, name):
                raise ValueError(f"--{name} is an option of running a study: add --run, or leave it out")
        study, paths, _ = open_study(given, options)
        trials = [trial for trial in recorded_trials(study, paths) if trial.run.complete]
        if not trials:
            raise FileNotFoundError(
                f"no run of study {study.name} in {paths.output_dir} is complete: run the study first, or add --run"
            )
        # a misspelt option of this command is one that no config has
        require_known_options(trials[0].evaluation(study.tta[0]).words("run"))
        print(show_maps(study, paths, trials, own.images))
        print(f"pictures and tables: {paths.folder / 'feature_maps'}")
        return status
    except Exception as error:
        return told(error)


def told(error: Exception) -> int:
    """Print what a user can do something about; the exit status.

    Raises:
        Exception: any other error.
    """
    cause = own_cause(error) or error  # of MONAI's chain of errors only the one that helps
    if os.environ.get("SEAMLESS_TRACEBACK") or not isinstance(cause, (ValueError, OSError)):
        raise error
    print(f"error: {cause}", file=sys.stderr)
    return 2


def show_maps(study: Study, paths: StudyPaths, trials: Sequence[Trial], count: int) -> str:
    """Draw and measure the maps of trials that are complete, beside the study's tables and in MLflow.

    Returns:
        the statistics and what became of the rule, in Markdown.

    Raises:
        ValueError: as :func:`maps_of` and :func:`tuning_images`.
    """
    images = tuning_images(trials[0], count)
    found = [maps_of(trial, images) for trial in trials]
    scales, client = colour_scales(found), _client(paths)
    for each in found:
        folder = each.trial.run.path
        picture = folder / "feature_maps" / "maps.png"
        with replacing(picture) as part:
            draw_run(each, study.variants[each.trial.variant].label, images, scales).savefig(part)
        values = {
            f"feature_maps/{statistic}_{name}": getattr(own, statistic)
            for name, own in each.statistics.items()
            for statistic in STATISTICS
        }
        _log(client, folder, [picture], values)
    folder = paths.folder / "feature_maps"
    with replacing(folder / "sheet.png") as part:
        draw_sheet(study, found, images, scales).savefig(part)
    compared = pairs(study, found, collect(study, paths))
    text = rule_text(study, found, compared)
    write_text(folder / "rule.md", text)
    tables = [write_statistics(folder / "statistics.csv", found), write_pairs(folder / "pairs.csv", study, compared)]
    _log(client, paths.folder, [folder / "sheet.png", folder / "rule.md", *tables], {})
    return text


def _client(paths: StudyPaths) -> Any:
    try:
        return import_mlflow().MlflowClient(paths.store)
    except Exception as error:  # of MLflow, SQLAlchemy or requests, as the store may be
        logger.warning("MLflow does not get the maps: %s", reason(error))
        return None


def _log(client: Any, folder: Path, files: Sequence[Path], values: dict[str, float]) -> None:
    """Into the run in MLflow that belongs to a folder; what is there already is not said twice."""
    run_id = earlier_run_id(folder)
    if client is None or run_id is None:
        return
    try:
        known = client.get_run(run_id).data.metrics
        for name, value in values.items():
            if known.get(name) != value:
                client.log_metric(run_id, name, value)
        for file in files:
            log_artifact(client, run_id, file, "feature_maps")
    except Exception as error:
        logger.warning("the run of %s in MLflow does not have its maps: %s", folder, reason(error))


if __name__ == "__main__":
    sys.exit(main())

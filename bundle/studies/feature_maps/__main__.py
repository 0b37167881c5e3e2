"""``python -m bundle.studies.feature_maps --study FILE --dataset_dir DIR``: the maps of the runs that are complete."""

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
from bundle.studies import commands
from bundle.studies.definition import Study, options_of
from bundle.studies.feature_maps.branch_maps import RunMaps, maps_of, tuning_images
from bundle.studies.feature_maps.kernel_rule import pairs
from bundle.studies.feature_maps.map_pictures import colour_scales, draw_run, draw_sheet
from bundle.studies.feature_maps.rule_text import rule_text, write_contrasts, write_pairs
from bundle.studies.places import Places
from bundle.studies.study_file import read_study
from bundle.studies.summary import collect, recorded_runs, with_recorded
from bundle.tracking import earlier_run_id, sqlite_uri
from bundle.tracking.mlflow_store import log_artifact, reason

__all__ = ["main"]

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line.

    Returns:
        0; 2 when there is nothing to be shown.
    """
    parser = argparse.ArgumentParser(
        prog="python -m bundle.studies.feature_maps",
        allow_abbrev=False,
        description="Score maps of the DCN's branches on the validation images: pictures, contrasts, and how often the "
        "rule 'shrink the kernel of the weakest branch' was right. May be repeated while the study goes on.",
        epilog="All other options are those that the study was given.",
    )
    parser.add_argument("--study", type=Path, required=True, help="JSON file, such as configs/studies/dcn_kernels.json")
    parser.add_argument("--dataset_dir", help="default: what the config says")
    parser.add_argument("--output_dir", type=Path, default=Path("runs"), help="folder of all runs (default runs)")
    parser.add_argument("--tracking_uri", help="default: the store in output_dir")
    parser.add_argument("--images", type=int, default=3, help="validation images to look at (default 3)")
    own, rest = parser.parse_known_args(argv)
    try:
        places = Places(own.study.stem, own.output_dir, own.dataset_dir, own.tracking_uri)
        study, options = with_recorded(read_study(own.study), places), options_of(rest)
        if study.grid is not None:
            options.pop(study.grid.name, None)  # the study's records tell which there are
        study = study.with_options(options)
        _require_known(study, places)
        print(show_maps(study, places, own.images))
        print(f"pictures and tables: {places.folder / 'feature_maps'}")
        return 0
    except Exception as error:
        cause = own_cause(error) or error  # of MONAI's chain of errors only the one that helps
        if os.environ.get("SEAMLESS_TRACEBACK") or not isinstance(cause, (ValueError, OSError)):
            raise
        print(f"error: {cause}", file=sys.stderr)
        return 2


def _require_known(study: Study, places: Places) -> None:
    """Check the options that go on to the configs.

    Raises:
        ValueError: for one that no config has; a misspelt option of this command is one, too.
    """
    for run in study.choose(None, None)[:1]:
        require_known_options(commands.evaluation(study, run, study.averaging[0], places).words("run"))


def show_maps(study: Study, places: Places, count: int = 3) -> str:
    """Draw and measure the maps of the runs that are complete, beside the study's tables and in MLflow.

    Returns:
        the contrasts and what became of the rule, in Markdown.

    Raises:
        FileNotFoundError: when no run is complete.
        ValueError: as :func:`maps_of` and :func:`tuning_images`.
    """
    order = list(study.variants)
    runs = [run for run in recorded_runs(places) if run.variant in order and places.model_file(run).is_file()]
    if not runs:
        raise FileNotFoundError(f"no run of study {study.name} in {places.output_dir} is complete: run the study first")
    runs.sort(key=lambda run: (order.index(run.variant), run.seed, run.fold or 0))
    images = tuning_images(study, runs[0], places, count)
    found = [maps_of(run, places, images) for run in runs]
    scales = colour_scales(found)
    client = _client(places)
    for run in found:
        folder = places.run_dir(run.run) / "feature_maps"
        with replacing(folder / "maps.png") as part:
            draw_run(run, study.variants[run.run.variant].label, images, scales).savefig(part)
        values = {f"feature_maps/contrast_{name}": own.difference for name, own in run.contrasts.items()}
        _log(client, places.run_dir(run.run), [folder / "maps.png"], values)
    return _collected(study, places, client, found, draw_sheet(study, found, images, scales))


def _collected(study: Study, places: Places, client: Any, found: Sequence[RunMaps], sheet: Any) -> str:
    folder = places.folder / "feature_maps"
    with replacing(folder / "sheet.png") as part:
        sheet.savefig(part)
    trials = pairs(study, found, collect(study, places))
    text = rule_text(study, found, trials)
    write_text(folder / "rule.md", text)
    tables = [write_contrasts(folder / "contrasts.csv", found), write_pairs(folder / "pairs.csv", study, trials)]
    _log(client, places.folder, [folder / "sheet.png", folder / "rule.md", *tables], {})
    return text


def _client(places: Places) -> Any:
    import mlflow

    try:
        return mlflow.MlflowClient(places.tracking_uri or sqlite_uri(places.output_dir))
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

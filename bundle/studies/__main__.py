"""``python -m bundle.studies --study FILE --dataset_dir DIR``: run or resume a study."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fire.parser import DefaultParseValue

from bundle.studies.definition import Study, options_of
from bundle.studies.study_file import read_study
from bundle.studies.summary import collect, read_values
from bundle.studies.summary_files import write_summary
from bundle.studies.trial import StudyPaths, Trial, with_recorded

if TYPE_CHECKING:
    from bundle.studies.parent_run import ParentRun

INTERRUPTED = 130
#: between two reports on what has been measured so far
REPORT_SECONDS = 60


def arguments(argv: Sequence[str] | None = None) -> tuple[argparse.Namespace, dict[str, Any]]:
    """The command line: options of its own, and those that every training and evaluation gets."""
    parser = argparse.ArgumentParser(
        prog="python -m bundle.studies",
        allow_abbrev=False,
        description="Train variants several times each, measure them, and draw the results. To resume after an "
        "interruption, repeat the command: completed runs are skipped.",
        epilog="All other options go to every training and evaluation: --max_epochs 5 --network_def#norm None. What a "
        "variant says comes after them. A study with a grid takes values of it by the grid's name, and then runs the "
        'reference and those: --kernels "[[4,8,10],[2,6,12]]".',
    )
    parser.add_argument("--study", type=Path, required=True, help="JSON file, such as configs/studies/em_ablation.json")
    parser.add_argument("--dataset_dir", help="default: what the config says")
    parser.add_argument("--output_dir", type=Path, default=Path("runs"), help="folder of all runs (default runs)")
    parser.add_argument("--tracking_uri", help="default: the store in output_dir")
    parser.add_argument("--variants", type=_list, help="\"['full','no_elastic']\" or full,no_elastic (default all)")
    parser.add_argument("--seeds", type=_list, help='"[0,1,2]" instead of the study\'s')
    parser.add_argument("--part", help="of the data that is measured, instead of the study's")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time (default 1)")
    parser.add_argument("--minutes", type=float, help="begin no training later than this")
    parser.add_argument("--report_only", action="store_true", help="tables and chart from study.csv; run nothing")
    parser.add_argument("--accept_changes", action="store_true", help="continue although settings have changed")
    own, rest = parser.parse_known_args(argv)
    if own.jobs < 1:
        parser.error(f"--jobs must be at least 1, got {own.jobs}")
    try:
        return own, options_of(rest)
    except ValueError as error:
        parser.error(str(error))


def main(argv: Sequence[str] | None = None, launcher: Sequence[str] = ()) -> int:
    """Command line.

    Returns:
        0; 1 when a run failed; 2 when nothing could be run; 130 when interrupted.
    """
    own, options = arguments(argv)
    try:
        study, paths, variants = open_study(own, options)
        if own.report_only:
            files, text = write_summary(study, read_values(paths.table), paths.folder)
            print(text, *files, sep="\n")
            return 0
        trials = [Trial(study, paths, *each) for each in study.choose(variants, own.seeds)]
        return _run(study, paths, trials, own, launcher)
    except KeyboardInterrupt:
        print("interrupted: repeat the command to resume", file=sys.stderr)
        return INTERRUPTED
    except (ValueError, OSError) as error:
        if os.environ.get("SEAMLESS_TRACEBACK"):
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2


def open_study(own: argparse.Namespace, options: dict[str, Any]) -> tuple[Study, StudyPaths, list[str] | None]:
    """The study that a command line asks for, its paths, and the variants that it names; None: all.

    Raises:
        FileNotFoundError, ValueError: as :func:`bundle.studies.study_file.read_study` and :meth:`Study.with_options`.
    """
    study, variants = read_study(own.study), own.variants
    study = dataclasses.replace(study, part=own.part or study.part)
    paths = StudyPaths(study.name, own.output_dir, own.dataset_dir, own.tracking_uri)
    study, grid = with_recorded(study, paths), study.grid
    if grid is not None and grid.name in options:
        values = options.pop(grid.name)
        study = study.with_values(values)
        variants = [study.reference, *map(grid.name_of, values), *(variants or [])]
    return study.with_options(options), paths, variants


def _run(
    study: Study, paths: StudyPaths, trials: Sequence[Trial], own: argparse.Namespace, launcher: Sequence[str]
) -> int:
    # only now: a report needs neither torch nor MONAI
    from bundle.studies.checks import check_trials
    from bundle.studies.parent_run import ParentRun
    from bundle.studies.processes import Processes, exclusive
    from bundle.studies.records import require_same_settings
    from bundle.studies.runner import run_trials

    print(f"study {study.name}: checking {len(trials)} runs", flush=True)
    records = check_trials(study, trials)
    with exclusive(paths.folder / ".lock") as lock:
        if not own.accept_changes:
            require_same_settings(trials, records)
        for trial in trials:
            trial.keep(records[trial.name])
        parent = ParentRun(study, paths, records[trials[0].name]["data"])
        status, reported = "KILLED", time.monotonic()

        def report_now_and_then() -> None:
            nonlocal reported
            if time.monotonic() > reported + REPORT_SECONDS:
                _report(study, paths, parent)
                reported = time.monotonic()

        processes = Processes(lock, own.jobs)
        try:
            failed, left = run_trials(trials, parent.run_id, processes, own.minutes, launcher, report_now_and_then)
            status = "FAILED" if failed else "SCHEDULED" if left else "FINISHED"
        finally:
            parent.end(status)  # first: the tables may not fit on the disk
            print(_report(study, paths, parent))
    print(f"tables and chart: {paths.folder}")
    if left:
        print(f"not started, repeat the command to resume: {', '.join(trial.name for trial in left)}")
    if failed:
        print(f"failed: {', '.join(trial.name for trial in failed)}", file=sys.stderr)
    return int(bool(failed))


def _report(study: Study, paths: StudyPaths, parent: ParentRun) -> str:
    files, text = write_summary(study, collect(study, paths), paths.folder)
    parent.show(files, "\n\n".join(filter(None, [study.description, text])))
    return text


def _list(text: str) -> list[Any]:
    """``[0,1,2]``, ``['a','b']`` or ``a,b``."""
    value = DefaultParseValue(text)
    if isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    return list(value) if isinstance(value, list | tuple) else [value]


if __name__ == "__main__":
    sys.exit(main())

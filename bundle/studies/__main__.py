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

from bundle.studies.definition import Run, Study, options_of
from bundle.studies.places import Places
from bundle.studies.study_file import read_study
from bundle.studies.summary import collect, read_rows, with_recorded
from bundle.studies.summary_files import write_report, write_rows

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
    parser.add_argument("--accept_changes", action="store_true", help="go on although settings are not those of before")
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
        study = read_study(own.study)
        study = dataclasses.replace(study, part=own.part or study.part)
        places = Places(study.name, own.output_dir, own.dataset_dir, own.tracking_uri)
        study = with_recorded(study, places)
        grid = study.grid
        if grid is not None and grid.name in options:
            values = options.pop(grid.name)
            study = study.with_values(values)
            own.variants = [study.reference, *map(grid.name_of, values), *(own.variants or [])]
        study = study.with_options(options)
        if own.report_only:
            files, text = write_report(study, read_rows(places.table), places.folder)
            print(text, *files, sep="\n")
            return 0
        runs = study.choose(own.variants, own.seeds)
        return _run(study, runs, places, own, launcher)
    except KeyboardInterrupt:
        print("interrupted: repeat the command to resume", file=sys.stderr)
        return INTERRUPTED
    except (ValueError, OSError) as error:
        if os.environ.get("SEAMLESS_TRACEBACK"):
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2


def _run(study: Study, runs: Sequence[Run], places: Places, own: argparse.Namespace, launcher: Sequence[str]) -> int:
    # only now: a report needs neither torch nor MONAI
    from bundle import atomic
    from bundle.studies.checks import check_earlier_runs, check_other_seeds, check_study, with_earlier
    from bundle.studies.parent_run import ParentRun
    from bundle.studies.processes import Processes, exclusive
    from bundle.studies.runner import StudyRunner

    print(f"study {study.name}: checking {len(runs)} runs", flush=True)
    records = check_study(study, runs, places)
    with exclusive(places.folder / ".lock") as lock:
        if not own.accept_changes:
            check_earlier_runs(runs, records, places)
            check_other_seeds(records, places)
        for run in runs:
            record = with_earlier(records[run.name], places.record(run))
            atomic.write_json(places.record(run), record)
        parent = ParentRun(study, places, records[runs[0].name]["data"])
        status, reported = "KILLED", time.monotonic()

        def report_now_and_then() -> None:
            nonlocal reported
            if time.monotonic() > reported + REPORT_SECONDS:
                _report(study, places, parent)
                reported = time.monotonic()

        try:
            runner = StudyRunner(
                *(study, places, parent.run_id, Processes(lock, own.jobs)),
                **{"jobs": own.jobs, "minutes": own.minutes, "launcher": launcher, "say": _say},
            )
            failed, left = runner.run(runs, after=report_now_and_then)
            status = "FAILED" if failed else "SCHEDULED" if left else "FINISHED"
            if study.afterwards == "feature_maps" and len(failed) + len(left) < len(runs):
                from bundle.studies.feature_maps.__main__ import show_maps

                print(show_maps(study, places))
        finally:
            print(_report(study, places, parent))
            parent.end(status)
    print(f"tables and chart: {places.folder}")
    if left:
        print(f"not started, repeat the command to resume: {', '.join(run.name for run in left)}")
    if failed:
        print(f"failed: {', '.join(run.name for run in failed)}", file=sys.stderr)
    return int(bool(failed))


def _report(study: Study, places: Places, parent: ParentRun) -> str:
    rows = collect(study, places)
    table = write_rows(places.table, rows)
    files, text = write_report(study, rows, places.folder)
    parent.show([table, *files], "\n\n".join(filter(None, [study.description, text])))
    return text


def _list(text: str) -> list[Any]:
    """``[0,1,2]``, ``['a','b']`` or ``a,b``."""
    value = DefaultParseValue(text)
    if isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    return list(value) if isinstance(value, list | tuple) else [value]


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())

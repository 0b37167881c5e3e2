"""``python -m benchmarks.annotation_loop --dataset_dir DIR``: run or resume the loop."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.annotation_loop.loop import Loop
from benchmarks.annotation_loop.plan import STRATEGIES, Settings, keep_settings, read_film
from benchmarks.annotation_loop.report import write_report
from bundle.studies.processes import CommandError, Processes, exclusive, sigterm_as_interrupt


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.annotation_loop",
        description="Train, annotate what a strategy chooses, train on: SEG over the number of annotated frames. To "
        "resume, or to add seeds or rounds, repeat the command: completed rounds are skipped.",
    )
    for field in dataclasses.fields(Settings):
        if text := field.metadata.get("help"):
            if field.default is dataclasses.MISSING:
                parser.add_argument(f"--{field.name}", required=True, help=text)
                continue
            kind, text = type(field.default), f"{text} (default {field.default})"
            parser.add_argument(f"--{field.name}", type=kind, default=field.default, help=text)
    parser.add_argument("--config_files", nargs="+", default=(), help="overlays on top of configs/train.json")
    parser.add_argument("--strategies", nargs="+", choices=STRATEGIES, default=STRATEGIES)
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1, 2), help="each with other first frames")
    parser.add_argument("--rounds", type=int, default=5, help="after the first one (default 5)")
    parser.add_argument("--output_dir", type=Path, default=Path("output/annotation_loop"))
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line.

    Returns:
        0; 1 when a training failed; 2 when nothing could be run; 130 when interrupted.
    """
    own = arguments(argv)
    values = {field.name: getattr(own, field.name) for field in dataclasses.fields(Settings)}
    try:
        settings = Settings(**values | {"config_files": tuple(own.config_files)})
        film = read_film(settings, own.rounds)
        with sigterm_as_interrupt(), exclusive(own.output_dir / ".lock") as lock:
            keep_settings(own.output_dir / "settings.json", settings, film)
            processes = Processes(lock)
            loop = Loop(settings, film, own.output_dir, processes.call, lambda text: print(text, flush=True))
            print(f"pool: {len(film.pool)} frames; test: {', '.join(film.test)}", flush=True)
            try:
                for seed in own.seeds:
                    loop.run(seed, own.strategies, own.rounds)
            finally:
                processes.stop()
                if records := loop.records():
                    files, text = write_report(records, own.output_dir, settings.truth)
                    print(text, *files, sep="\n")
    except KeyboardInterrupt:
        print("interrupted: repeat the command to resume", file=sys.stderr)
        return 130
    except CommandError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

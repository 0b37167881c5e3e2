"""``python -m bundle.report``: compare the runs of an MLflow store on one page."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from bundle.studies.comparison.compare import write_report


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bundle.report",
        description="Compare runs on one page: what differs between them, learning curves, the same images segmented.",
    )
    parser.add_argument("--tracking_uri", default="sqlite:///runs/mlflow.db", help="the store (%(default)s)")
    parser.add_argument("--experiment", help="the one with the newest run, unless said")
    parser.add_argument("--runs", nargs="+", metavar="NAME", help="only these, with their evaluations and children")
    parser.add_argument("--output", default="report", help="folder of index.html and runs.csv (%(default)s)")
    parser.add_argument("--metric", help="orders runs and images (best_by of the trainings)")
    parser.add_argument("--images", type=int, default=5, help="how many of the worst images to show (%(default)s)")
    options = vars(parser.parse_args(arguments))
    try:
        page = write_report(**options)
    except (ValueError, OSError) as error:  # FileNotFoundError and ConnectionError among them
        sys.exit(f"error: {error}")
    print(f"{page} ({page.stat().st_size / 1e6:.1f} MB), {page.with_name('runs.csv')}")


if __name__ == "__main__":
    main()

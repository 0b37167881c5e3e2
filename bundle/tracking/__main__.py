"""``python -m bundle.tracking``: where ``make mlflow`` shows the runs of every experiment, the newest first."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bundle.tracking.mlflow_store import import_mlflow, reason


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bundle.tracking", description=__doc__.partition(": ")[2])
    parser.add_argument("--tracking_uri", default="sqlite:///runs/mlflow.db", help="the store (%(default)s)")
    parser.add_argument("--address", default="http://127.0.0.1:5000", help="of MLflow's pages (%(default)s)")
    given = parser.parse_args(arguments)
    file = Path(given.tracking_uri.removeprefix("sqlite:///"))
    if given.tracking_uri.startswith("sqlite:") and not file.is_file():  # MLflow would make one
        sys.exit(f"error: there is no {file}: train first (make quickstart), or name another by --tracking_uri")
    try:
        client = import_mlflow().MlflowClient(given.tracking_uri)
        found = []
        for experiment in client.search_experiments():
            newest = client.search_runs([experiment.experiment_id], max_results=1, order_by=["start_time DESC"])
            found += [(run.info.start_time, experiment) for run in newest]
    except Exception as error:  # of MLflow, SQLAlchemy, requests or the system, as the store may be
        sys.exit(f"error: tracking_uri {given.tracking_uri!r} cannot be read: {reason(error)}")
    if not found:
        sys.exit(f"error: {given.tracking_uri} has no runs: train first (make quickstart)")
    for _, experiment in sorted(found, key=lambda pair: -pair[0]):
        page = f"/#/experiments/{experiment.experiment_id}/runs?workflowType=machine_learning"
        print(f"{experiment.name}: {given.address}{page}")


if __name__ == "__main__":
    main()

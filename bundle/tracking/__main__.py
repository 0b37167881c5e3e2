"""``python -m bundle.tracking``: where ``make mlflow`` shows the runs of every experiment, the newest first."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from bundle.tracking.mlflow_store import open_store


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bundle.tracking", description=__doc__.partition(": ")[2])
    parser.add_argument("--tracking_uri", default="sqlite:///runs/mlflow.db", help="the store (%(default)s)")
    parser.add_argument("--address", default="http://127.0.0.1:5000", help="of MLflow's pages (%(default)s)")
    given = parser.parse_args(arguments)
    try:
        client, experiments = open_store(given.tracking_uri)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    found = []
    for experiment in experiments:
        newest = client.search_runs([experiment.experiment_id], max_results=1, order_by=["start_time DESC"])
        found += [(run.info.start_time, experiment) for run in newest]
    if not found:
        sys.exit(f"error: {given.tracking_uri} has no runs: train first (make quickstart)")
    for _, experiment in sorted(found, key=lambda pair: -pair[0]):
        page = f"/#/experiments/{experiment.experiment_id}/runs?workflowType=machine_learning"
        print(f"{experiment.name}: {given.address}{page}")


if __name__ == "__main__":
    main()

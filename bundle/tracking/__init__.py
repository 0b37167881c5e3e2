"""What is recorded of a run: MLflow, the history, where it came from, its folder."""

from bundle.tracking.handlers import TrackMetrics, TrackTraining
from bundle.tracking.lineage import evaluation_folder, evaluation_name, training_tags
from bundle.tracking.mlflow_run import earlier_run_id
from bundle.tracking.mlflow_store import sqlite_uri
from bundle.tracking.tracker import MLflowTracker

__all__ = [
    "MLflowTracker",
    "TrackMetrics",
    "TrackTraining",
    "earlier_run_id",
    "evaluation_folder",
    "evaluation_name",
    "sqlite_uri",
    "training_tags",
]

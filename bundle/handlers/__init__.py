"""Ignite handlers of a training run: seeding, checkpoints, progress, tracking, pictures."""

from bundle.handlers.checkpoint import LoadNetwork, SaveRun
from bundle.handlers.panels import PanelHandler
from bundle.handlers.progress import Progress
from bundle.handlers.seeding import SeedEpoch
from bundle.handlers.store import sqlite_uri
from bundle.handlers.tracked import TrackMetrics, TrackTraining
from bundle.handlers.tracking import MLflowTracker, earlier_run_id

__all__ = [
    "LoadNetwork",
    "MLflowTracker",
    "PanelHandler",
    "Progress",
    "SaveRun",
    "SeedEpoch",
    "TrackMetrics",
    "TrackTraining",
    "earlier_run_id",
    "sqlite_uri",
]

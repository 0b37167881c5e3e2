"""Ignite handlers of a training run: seeding, checkpoints, progress, tracking, pictures."""

from bundle.handlers.batch_norm import FreezeBatchNorm
from bundle.handlers.cell_choice import ChooseCells
from bundle.handlers.checkpoint import SaveRun
from bundle.handlers.description import DescribeRun
from bundle.handlers.early_stop import StopEarly
from bundle.handlers.lineage import training_tags
from bundle.handlers.loading import LoadNetwork
from bundle.handlers.panels import PanelHandler
from bundle.handlers.progress import Progress
from bundle.handlers.seeding import SeedEpoch
from bundle.handlers.store import sqlite_uri
from bundle.handlers.tables import MetricTables
from bundle.handlers.tracked import TrackMetrics, TrackTraining
from bundle.handlers.tracking import MLflowTracker, earlier_run_id

__all__ = [
    "ChooseCells",
    "DescribeRun",
    "FreezeBatchNorm",
    "LoadNetwork",
    "MLflowTracker",
    "MetricTables",
    "PanelHandler",
    "Progress",
    "SaveRun",
    "SeedEpoch",
    "StopEarly",
    "TrackMetrics",
    "TrackTraining",
    "earlier_run_id",
    "sqlite_uri",
    "training_tags",
]

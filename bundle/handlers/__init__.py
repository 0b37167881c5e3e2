"""Ignite handlers of a training run: seeding, checkpoints, progress, pictures."""

from bundle.handlers.batch_norm import FreezeBatchNorm
from bundle.handlers.cell_choice import ChooseCells
from bundle.handlers.checkpoint import SaveRun
from bundle.handlers.description import DescribeRun
from bundle.handlers.early_stop import StopEarly
from bundle.handlers.loading import LoadNetwork
from bundle.handlers.panels import PanelHandler
from bundle.handlers.progress import Progress
from bundle.handlers.seeding import SeedEpoch
from bundle.handlers.tables import MetricTables

__all__ = [
    "ChooseCells",
    "DescribeRun",
    "FreezeBatchNorm",
    "LoadNetwork",
    "MetricTables",
    "PanelHandler",
    "Progress",
    "SaveRun",
    "SeedEpoch",
    "StopEarly",
]

"""Ignite handlers of a training run: seeding, checkpoints, progress, pictures."""

from bundle.model.load_network import LoadNetwork
from bundle.training.batch_norm import FreezeBatchNorm
from bundle.training.calibrate import Calibrate
from bundle.training.choose_at_end import ChooseAtEnd
from bundle.training.choose_cells import ChooseCells
from bundle.training.confusion import ConfusionMatrix
from bundle.training.describe_run import DescribeRun
from bundle.training.divergence import StopDiverged
from bundle.training.early_stop import StopEarly
from bundle.training.metric_tables import MetricTables
from bundle.training.panels import PanelHandler
from bundle.training.progress import Progress
from bundle.training.save_run import SaveRun
from bundle.training.seeding import SeedEpoch

__all__ = [
    "Calibrate",
    "ChooseAtEnd",
    "ChooseCells",
    "ConfusionMatrix",
    "DescribeRun",
    "FreezeBatchNorm",
    "LoadNetwork",
    "MetricTables",
    "PanelHandler",
    "Progress",
    "SaveRun",
    "SeedEpoch",
    "StopDiverged",
    "StopEarly",
]

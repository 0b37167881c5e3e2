"""From a labelled image to what a U-Net of valid convolutions trains on, as MONAI transforms.

Every transform has an array form ``X`` and a dictionary form ``Xd``.
"""

from transforms.geometry.crop import CropToOutput, CropToOutputd
from transforms.geometry.elastic_field import RandElasticField, RandElasticFieldd
from transforms.geometry.elastic_grid import RandElasticGrid, RandElasticGridd
from transforms.geometry.mirror import MirrorPad
from transforms.geometry.windows import RandBalancedWindows, RandBalancedWindowsd
from transforms.intensity.gray_curve import RandGrayCurve, RandGrayCurved
from transforms.intensity.retain_stats import RetainStats, RetainStatsd
from transforms.intensity.standardize import Standardize, Standardized
from transforms.labels.classes import KeepClassesd, LabelToClassedInstancesd
from transforms.labels.instances import IGNORE, InstancesToClass, InstancesToClassd, LabelToInstances, LabelToInstancesd
from transforms.labels.nearest_cells import two_nearest_distances
from transforms.labels.partial import IgnoreUnannotated, IgnoreUnannotatedd
from transforms.labels.separation import SeparateTouching, SeparateTouchingd
from transforms.labels.weight_map import WeightMap, WeightMapd

__all__ = [
    "IGNORE",
    "CropToOutput",
    "CropToOutputd",
    "IgnoreUnannotated",
    "IgnoreUnannotatedd",
    "InstancesToClass",
    "InstancesToClassd",
    "KeepClassesd",
    "LabelToClassedInstancesd",
    "LabelToInstances",
    "LabelToInstancesd",
    "MirrorPad",
    "RandBalancedWindows",
    "RandBalancedWindowsd",
    "RandElasticField",
    "RandElasticFieldd",
    "RandElasticGrid",
    "RandElasticGridd",
    "RandGrayCurve",
    "RandGrayCurved",
    "RetainStats",
    "RetainStatsd",
    "SeparateTouching",
    "SeparateTouchingd",
    "Standardize",
    "Standardized",
    "WeightMap",
    "WeightMapd",
    "two_nearest_distances",
]

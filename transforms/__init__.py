"""From a labelled image to what a U-Net of valid convolutions trains on, as MONAI transforms.

Every transform has an array form ``X`` and a dictionary form ``Xd``.
"""

from transforms.crop import CropToOutput, CropToOutputd
from transforms.elastic_field import RandElasticField, RandElasticFieldd
from transforms.elastic_grid import RandElasticGrid, RandElasticGridd
from transforms.gray_curve import RandGrayCurve, RandGrayCurved
from transforms.labels import IGNORE, InstancesToClass, InstancesToClassd, LabelToInstances, LabelToInstancesd
from transforms.mirror import MirrorPad, MirrorPadd
from transforms.partial import IgnoreUnannotated, IgnoreUnannotatedd
from transforms.separation import SeparateTouching, SeparateTouchingd
from transforms.standardize import Standardize, Standardized
from transforms.weight_map import WeightMap, WeightMapd, two_nearest_distances
from transforms.windows import RandBalancedWindows, RandBalancedWindowsd

__all__ = [
    "IGNORE",
    "CropToOutput",
    "CropToOutputd",
    "IgnoreUnannotated",
    "IgnoreUnannotatedd",
    "InstancesToClass",
    "InstancesToClassd",
    "LabelToInstances",
    "LabelToInstancesd",
    "MirrorPad",
    "MirrorPadd",
    "RandBalancedWindows",
    "RandBalancedWindowsd",
    "RandElasticField",
    "RandElasticFieldd",
    "RandElasticGrid",
    "RandElasticGridd",
    "RandGrayCurve",
    "RandGrayCurved",
    "SeparateTouching",
    "SeparateTouchingd",
    "Standardize",
    "Standardized",
    "WeightMap",
    "WeightMapd",
    "two_nearest_distances",
]

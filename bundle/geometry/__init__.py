"""Every size of a network: margins, valid inputs, outputs, tile plans, mirrored indices.

This package is the only home of that arithmetic, and needs nothing but the standard library. The networks, the
inferer, the crops, the configs and the error messages ask it.

A network has a :class:`ValidGeometry` when none of its convolutions is padded, and a :class:`PaddedGeometry` when
zeros keep every map at its size. Only the first can be tiled without seams, and so can a :class:`WindowGeometry`, of a
network that classifies one pixel a window. Each is that of all axes, or stands for one of them in an
:class:`AxesGeometry`.
"""

from bundle.geometry.base import AxesGeometry, AxisGeometry, Geometry
from bundle.geometry.blocks import Block, BlockPlan
from bundle.geometry.kinds import PaddedGeometry, ValidGeometry, WindowGeometry
from bundle.geometry.mirror import mirror_indices
from bundle.geometry.networks import geometry_of, per_axis
from bundle.geometry.spacing import flat_levels, isotropic_plane, isotropic_planes, relative_spacing
from bundle.geometry.tiles import Tile, TilePlan
from bundle.geometry.turns import Turn

__all__ = [
    "AxesGeometry",
    "AxisGeometry",
    "Block",
    "BlockPlan",
    "Geometry",
    "PaddedGeometry",
    "Tile",
    "TilePlan",
    "Turn",
    "ValidGeometry",
    "WindowGeometry",
    "flat_levels",
    "geometry_of",
    "isotropic_plane",
    "isotropic_planes",
    "mirror_indices",
    "per_axis",
    "relative_spacing",
]

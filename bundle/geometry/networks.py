"""Asking a network for its sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bundle.geometry.base import AxesGeometry, AxisGeometry, Geometry
from bundle.geometry.kinds import PaddedGeometry, ValidGeometry, WindowGeometry


def per_axis(each: Sequence[AxisGeometry]) -> AxisGeometry | AxesGeometry:
    """The sizes of a network from those along each axis: one for all where they are equal."""
    return AxesGeometry(tuple(each)) if len({*each}) > 1 else each[0]


def geometry_of(network: Any) -> Geometry:
    """The ``geometry`` that a network carries; of one in TorchScript, what its plain attributes say.

    Raises:
        ValueError: when it has neither.
    """
    network = getattr(network, "module", network)  # DataParallel, DistributedDataParallel
    geometry = getattr(network, "geometry", None)
    if isinstance(geometry, Geometry):
        return geometry
    # TorchScript keeps plain numbers and text only
    depth, step, window = (getattr(network, name, None) for name in ("depth", "step", "window"))
    flat = getattr(network, "flat_levels", None) or [0]
    if getattr(network, "padding", None) == "same" and isinstance(step, int):
        return per_axis([PaddedGeometry(max(1, step >> levels)) for levels in flat])
    if isinstance(window, int):
        return WindowGeometry(window)
    if isinstance(depth, int):
        return per_axis([ValidGeometry(depth, levels) for levels in flat])
    raise ValueError(
        f"network {type(network).__name__} has no geometry: pass geometry=ValidGeometry(depth), "
        "PaddedGeometry(stride) or WindowGeometry(window) to the inferer"
    )

"""Asking a network for its sizes."""

from __future__ import annotations

from typing import Any

from bundle.geometry.base import Geometry
from bundle.geometry.kinds import PaddedGeometry, ValidGeometry, WindowGeometry

__all__ = ["geometry_of"]


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
    if getattr(network, "padding", None) == "same" and isinstance(step, int):
        return PaddedGeometry(step)
    if isinstance(window, int):
        return WindowGeometry(window)
    if isinstance(depth, int):
        return ValidGeometry(depth)
    raise ValueError(
        f"network {type(network).__name__} has no geometry: pass geometry=ValidGeometry(depth), "
        "PaddedGeometry(stride) or WindowGeometry(window) to the inferer"
    )

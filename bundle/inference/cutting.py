"""Parts of images: what a tile sees of one, what it tells of one."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from bundle.geometry import Geometry, mirror_indices


def cut(image: torch.Tensor, spans: Sequence[tuple[int, int]]) -> torch.Tensor:
    """The part of a BCHW[D] image between (start, stop) along every spatial axis, mirrored where it reaches beyond."""
    for axis, (start, stop) in enumerate(spans, start=2):
        n = image.shape[axis]
        if start >= 0 and stop <= n:
            image = image.narrow(axis, start, stop - start)
        else:
            index = torch.tensor(mirror_indices(start, stop, n), device=image.device)
            image = image.index_select(axis, index)
    return image.contiguous()


def inside(image: torch.Tensor, spans: Sequence[tuple[int, int]]) -> torch.Tensor:
    """The part of a CHW[D] image between (start, stop) along every spatial axis, as a view."""
    return image[:, *(slice(*span) for span in spans)]


def said_of_thin(size: tuple[int, ...], margins: tuple[int, ...]) -> str:
    """What to say of a volume that is thinner than what the network sees beside it; nothing of others."""
    thin = [str(axis) for axis, (n, margin) in enumerate(zip(size, margins, strict=True)) if n <= margin]
    if len(size) < 3 or not thin:
        return ""
    return (
        f"a volume of {' x '.join(map(str, size))} voxels is thinner along axis {' and '.join(thin)} than the margin, "
        f"{margins}: what the network sees beyond it is mirrored, several times where needed"
    )


def middle(image: torch.Tensor, geometry: Geometry, size: Sequence[int], most: int) -> torch.Tensor:
    """A valid tile of a BCHW[D] image around its middle.

    Args:
        image: of any size.
        geometry: of the network that the tile is for.
        size: along each axis, of the image or of the smallest of several: a larger tile would see mirrored parts alone.
        most: px (voxels) of the tile, unless the smallest valid one has more.
    """
    side = int(most ** (1 / len(size)))
    spans = []
    for axis, n, whole in zip(geometry.axes(len(size)), size, image.shape[2:], strict=True):
        tile = min(axis.input_size(n), axis.nearest_valid(side)[0])
        start = (whole - tile) // 2
        spans.append((start, start + tile))
    return cut(image, spans)

"""Test-time augmentation: the same image turned and mirrored, and what comes of it turned back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from bundle.geometry import Geometry, isotropic_planes

__all__ = ["TTA", "averaged", "require_tta", "turned_plane"]

#: (quarter turns, mirrored) of the members of the dihedral group, the identity first
_DIHEDRAL = [(turns, mirrored) for mirrored in (False, True) for turns in range(4)]
#: members by name. "paper7" leaves out the last one: the paper averages "7 rotated versions" and does not say which
TTA = {"none": _DIHEDRAL[:1], "paper7": _DIHEDRAL[:7], "d4": _DIHEDRAL}


def require_tta(name: str) -> None:
    """Check a name of :data:`TTA`.

    Raises:
        ValueError: naming those that there are.
    """
    if name not in TTA:
        raise ValueError(f"tta must be one of {', '.join(TTA)}, got {name!r}")


def turned_plane(geometry: Geometry, axes: int, spacing: Sequence[float] | None = None) -> tuple[int, int]:
    """The first two of ``axes`` spatial axes along which a network has the same sizes, and pixels the same spacing.

    Raises:
        ValueError: where there are no two.
    """
    each = geometry.axes(axes)
    for first, second in isotropic_planes([1.0] * axes if spacing is None else spacing):
        if each[first] == each[second]:
            return first, second
    raise ValueError(
        f"tta turns two axes of equal spacing that the network treats alike, and of {axes} there are none: allowed is "
        "--tta none"
    )


def averaged(
    image: torch.Tensor,
    predict: Callable[[torch.Tensor], torch.Tensor],
    name: str,
    plane: tuple[int, int] = (0, 1),
) -> torch.Tensor:
    """The mean of what ``predict`` makes of an image turned and mirrored in a plane of two spatial axes.

    Args:
        image: BCHW[D], with a single spatial axis for "none" only.
        predict: gives BNHW[D] logits of the image's spatial size.
        name: of :data:`TTA`.
        plane: the two spatial axes.

    Returns:
        BNHW[D] logits in the image's orientation.

    Raises:
        ValueError: for an image with too few axes to turn.
    """
    members = TTA[name]
    if len(members) > 1 and image.dim() < 4:
        raise ValueError(f"tta {name!r} rotates two axes, the image has {image.dim() - 2}")
    across, along = (axis + 2 for axis in plane)

    def member(turns: int, mirrored: bool) -> torch.Tensor:
        back = turned(predict(turned(image.flip(across) if mirrored else image, turns)), -turns)
        return back.flip(across) if mirrored else back

    def turned(one: torch.Tensor, turns: int) -> torch.Tensor:
        return torch.rot90(one, turns, dims=(across, along)) if turns else one  # no copy where nothing turns

    first, *others = members
    total = member(*first)
    for other in others:
        total.add_(member(*other))
    return total / len(members) if others else total

"""Test-time augmentation: the same image turned and mirrored, and what comes of it turned back."""

from __future__ import annotations

from collections.abc import Callable

import torch

__all__ = ["TTA", "averaged", "require_tta"]

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


def averaged(image: torch.Tensor, predict: Callable[[torch.Tensor], torch.Tensor], name: str) -> torch.Tensor:
    """The mean of what ``predict`` makes of an image turned and mirrored along its first two spatial axes.

    Args:
        image: BCHW[D], with a single spatial axis for "none" only.
        predict: gives BNHW[D] logits of the image's spatial size.
        name: of :data:`TTA`.

    Returns:
        BNHW[D] logits in the image's orientation.

    Raises:
        ValueError: for an image with too few axes to turn.
    """
    members = TTA[name]
    if len(members) > 1 and image.dim() < 4:
        raise ValueError(f"tta {name!r} rotates two axes, the image has {image.dim() - 2}")
    first, *others = members
    total = _turn_back(predict(_turn(image, *first)), *first)
    for member in others:
        total.add_(_turn_back(predict(_turn(image, *member)), *member))
    return total / len(members) if others else total


def _turn(image: torch.Tensor, turns: int, mirrored: bool) -> torch.Tensor:
    if mirrored:
        image = image.flip(2)
    return torch.rot90(image, turns, dims=(2, 3)) if turns else image


def _turn_back(image: torch.Tensor, turns: int, mirrored: bool) -> torch.Tensor:
    if turns:
        image = torch.rot90(image, -turns, dims=(2, 3))
    return image.flip(2) if mirrored else image

"""Test-time augmentation: the same image turned and mirrored, and what comes of it turned back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch

from bundle.geometry import Geometry, Turn, isotropic_planes

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
    """
    turns = members(name, plane)
    each = each_turned(image, predict, turns)
    total = next(each)
    for other in each:
        total.add_(other)
    return total / len(turns) if len(turns) > 1 else total


def each_turned(
    image: torch.Tensor, predict: Callable[[torch.Tensor], torch.Tensor], turns: Iterable[Turn]
) -> Iterator[torch.Tensor]:
    """What ``predict``, see :func:`averaged`, makes of an image turned each time, in the image's orientation."""
    for turn in turns:
        yield turned_back(predict(turned(image, turn)), turn)


def members(name: str, plane: tuple[int, int] = (0, 1)) -> list[Turn]:
    """How the image is turned each time, the untouched one first."""
    return [Turn(quarters, mirrored, plane) for quarters, mirrored in TTA[name]]


def turned(image: torch.Tensor, turn: Turn) -> torch.Tensor:
    """BCHW[D]; without a copy where nothing turns."""
    across, along = (axis + 2 for axis in turn.plane)
    mirrored = image.flip(across) if turn.mirrored else image
    return torch.rot90(mirrored, turn.quarters, dims=(across, along)) if turn.quarters else mirrored


def turned_back(image: torch.Tensor, turn: Turn) -> torch.Tensor:
    """What :func:`turned` gave as it was before."""
    across, along = (axis + 2 for axis in turn.plane)
    back = torch.rot90(image, -turn.quarters, dims=(across, along)) if turn.quarters else image
    return back.flip(across) if turn.mirrored else back

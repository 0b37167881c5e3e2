"""Which image to annotate next: scores of a network's uncertainty, from its probability maps alone.

Two kinds of uncertainty. :func:`epistemic_score` asks how much several passes of a network disagree, see
:mod:`bundle.inference.passes`. :func:`border_score` asks how sure one network is of what separates touching cells: the
few pixels that decide whether two cells are counted as two.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch

from bundle.cells import probability_to_instances
from transforms import WeightMap

#: steps from the threshold towards 1 at which a component is looked at again
_STRICTER = 5


def epistemic_score(probabilities: torch.Tensor) -> float:
    """How much the passes disagree: the mutual information of prediction and network, in nats, mean over the pixels.

    Entropy of the mean minus mean of the entropies (BALD, Houlsby et al. 2011; of images Gal et al. 2017). The first
    term alone is high too where every pass says 0.5: at a blurred outline, which one more annotated image would not
    sharpen. The difference leaves what the passes tell differently, which annotation can settle. The mean, not the
    sum, lets images of different sizes compare.

    Args:
        probabilities: PHW[D] of at least 2 passes, each 0 .. 1.

    Returns:
        0 (all passes agree) up to ln 2 = 0.693 (at every pixel half of them are sure of either).

    Raises:
        ValueError: for fewer than 2 passes, an empty map, NaN, or values outside 0 .. 1.
    """
    return float(epistemic_map(probabilities).mean())


def epistemic_map(probabilities: torch.Tensor) -> torch.Tensor:
    """What :func:`epistemic_score` is the mean of.

    Args:
        probabilities: PHW[D] of at least 2 passes, each 0 .. 1.

    Returns:
        HW[D], fp64, 0 .. ln 2.

    Raises:
        ValueError: as there.
    """
    p = _checked(probabilities, "probabilities")
    if p.dim() < 3 or len(p) < 2:
        raise ValueError(f"probabilities must be PHW[D] of at least 2 passes, got {tuple(p.shape)}")
    # where all agree, rounding leaves some 1e-17 below 0
    return torch.sub(_entropy(p.mean(0)), _entropy(p).mean(0)).clamp(min=0)


def border_score(probability: torch.Tensor, threshold: float = 0.5, sigma: float = 5.0, min_size: int = 20) -> float:
    """How unsure the network is, on average, at the places between neighbouring cells::

        sum(b * u) / (1 + sum(b)),   u = 1 - |2 p - 1|,   b = exp(-(d1 + d2)^2 / (2 sigma^2))

    u is 0 where p is 0 or 1, and 1 where it is 0.5. b is the border term of the paper's weight map (eq. (2)) on the
    background between the cells that the network finds: near 1 in a tight gap, soon 0 further off. The 1 px in the
    denominator makes cells that are far apart count as no border at all.

    Two cells in one component have no border between them. So components are looked at again at stricter thresholds:
    one that falls apart into several counts as these, and the bridge that joined them as background. Thereby the score
    does not drop when a gap closes from p = 0.49 to 0.51, but falls as the network grows sure of either. Two cells
    that it is sure are one cannot be detected.

    Args:
        probability: HW[D] of one pass without dropout, 0 .. 1.
        threshold: as cells are found with, at least 0 and below 1; the stricter ones divide the way to 1 into five.
        sigma: width of the border term in px.
        min_size: px; smaller components are neither cells nor parts of one.

    Returns:
        0 (sure everywhere, or no two cells near one another) to below 1.

    Raises:
        ValueError: for an array that is not HW[D], is empty, holds NaN or values outside 0 .. 1, or an option out
            of its range.
    """
    p = _checked(probability, "probability").numpy()
    cells = _parted(p, threshold, min_size)
    border = WeightMap(w0=1.0, sigma=sigma, class_weights=(0, 0), border_on="background")(cells[None])[0]
    return float(np.sum(border * (1 - np.abs(2 * p - 1))) / (1 + np.sum(border, dtype=np.float64)))


def rank(scores: Mapping[str, float]) -> list[str]:
    """Names by their score, the highest first; equal ones by name.

    Raises:
        ValueError: when a score is NaN; names the image.
    """
    for name, score in scores.items():
        if math.isnan(score):
            raise ValueError(f"the score of image {name!r} is NaN: nothing can be ranked by it")
    return sorted(scores, key=lambda name: (-scores[name], name))


def _checked(p: torch.Tensor, name: str) -> torch.Tensor:
    """Probabilities in fp64 on the processor."""
    p = torch.as_tensor(p).detach().to("cpu", torch.float64)
    if p.numel() == 0:
        raise ValueError(f"{name} must hold at least one px, got shape {tuple(p.shape)}")
    if p.isnan().any() or p.min() < 0 or p.max() > 1:
        raise ValueError(f"{name} must be 0 .. 1 without NaN, got {p.min():g} .. {p.max():g}: are these logits?")
    return p


def _entropy(p: torch.Tensor) -> torch.Tensor:
    """Of a yes with probability p, in nats."""
    return torch.add(torch.special.entr(p), torch.special.entr(1 - p))


def _parted(p: np.ndarray, threshold: float, min_size: int) -> np.ndarray:
    """Cells HW[D] at the threshold; those that fall apart at a stricter one as their parts."""
    cells = _components(p, threshold, min_size)
    for step in range(1, _STRICTER):
        parts = _components(p, threshold + (1 - threshold) * step / _STRICTER, min_size)
        numbers, first = np.unique(parts, return_index=True)
        parts_of = np.bincount(cells.ravel()[first[numbers > 0]], minlength=int(cells.max()) + 1)
        apart = (parts_of > 1)[cells]
        cells = np.where(apart, np.where(parts > 0, parts + cells.max(), 0), cells)
    return cells


def _components(p: np.ndarray, threshold: float, min_size: int) -> np.ndarray:
    # with its holes open a component of a stricter threshold is inside one of a laxer
    return probability_to_instances(p, threshold=threshold, min_size=min_size, fill_holes=False)

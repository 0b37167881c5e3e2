"""Which image to annotate next: scores of a network's uncertainty, from its probability maps alone.

Two kinds of uncertainty. :func:`epistemic_score` asks how much networks that fit the annotated images equally well
disagree, by Monte Carlo dropout (Gal and Ghahramani 2016); of a network without dropout, how much its answers to the
image turned and mirrored do (test-time augmentation, Wang et al. 2019). :func:`border_score` asks how sure one
network is of what separates touching cells: the few pixels that decide whether two cells are counted as two.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from bundle.cells import probability_to_instances
from bundle.inference.tta import members, turned, turned_back, turned_plane
from transforms import WeightMap

__all__ = [
    "border_score",
    "disagreeing_passes",
    "dropout_passes",
    "epistemic_map",
    "epistemic_score",
    "foreground_probability",
    "rank",
    "turned_passes",
]

#: steps from the threshold towards 1 at which a component is looked at again
_STRICTER = 5


def foreground_probability(network: nn.Module, inferer: Inferer, image: torch.Tensor) -> torch.Tensor:
    """The probability of "cell" of every pixel, in one pass with the whole network in evaluation mode.

    Args:
        network: maps to logits of at least two classes, class 0 being background; its mode is restored.
        inferer: such as :class:`bundle.inference.overlap_tile.OverlapTileInferer`.
        image: CHW[D], as the network was trained on (standardized), on the network's device.

    Returns:
        HW[D], the probability of any class but 0, 0 .. 1, fp32 or better.

    Raises:
        ValueError: when the network has a single class.
    """
    with _evaluating(network):
        return _foreground(network, inferer, image)


def disagreeing_passes(
    network: nn.Module, inferer: Inferer, image: torch.Tensor, passes: int = 8, seed: int = 0
) -> torch.Tensor:
    """:func:`dropout_passes` of a network that has dropout, :func:`turned_passes` of one that has none.

    Args:
        network, inferer, image, passes, seed: as there.

    Returns:
        PHW[D], the probability of any class but 0, 0 .. 1; P is ``passes``, and 8 at most without dropout.

    Raises:
        ValueError: for fewer than 2 passes, and for a network of a single class.
    """
    if _dropout_layers(network):
        return dropout_passes(network, inferer, image, passes, seed)
    return turned_passes(network, inferer, image, passes)


def turned_passes(network: nn.Module, inferer: Inferer, image: torch.Tensor, passes: int = 8) -> torch.Tensor:
    """The probability of "cell" of the image turned and mirrored, each turned back: at most eight passes.

    Where the training turned and mirrored its tiles too, all passes agree on what the network has learned.

    Args:
        network: any; its mode is restored.
        inferer: such as :class:`bundle.inference.overlap_tile.OverlapTileInferer`.
        image: CHW[D], as the network was trained on (standardized), on the network's device.
        passes: at least 2.

    Returns:
        PHW[D] in the image's orientation, the probability of any class but 0, 0 .. 1; P is 8 at most.

    Raises:
        ValueError: for fewer than 2 passes, and for a network of a single class or a volume without two axes that
            may be turned.
    """
    _require_passes(passes)
    plane = turned_plane(network.geometry, image.dim() - 1, getattr(inferer, "spacing", None))  # type: ignore[arg-type]
    with _evaluating(network):
        each = (
            (turn, _foreground(network, inferer, turned(image[None], turn)[0]))
            for turn in members("d4", plane)[:passes]
        )
        return torch.stack([turned_back(found[None, None], turn)[0, 0] for turn, found in each])


def dropout_passes(
    network: nn.Module, inferer: Inferer, image: torch.Tensor, passes: int = 8, seed: int = 0
) -> torch.Tensor:
    """The probability of "cell" in several passes that differ in what dropout leaves out.

    Only the dropout layers are active. Batch normalisation uses its running statistics, or a tile's content would
    change the result and the network would learn while it is asked. An inferer that tiles draws a new mask for every
    tile: a single pass may show seams, and is reproduced only with the same tile size; the statistics over passes at
    a pixel do not depend on it.

    Args:
        network: with dropout; the mode of every layer is restored.
        inferer: such as :class:`bundle.inference.overlap_tile.OverlapTileInferer`, for images of any size.
        image: CHW[D], as the network was trained on (standardized), on the network's device.
        passes: at least 2; on a processor each takes as long as a segmentation.
        seed: the same one gives the same passes; torch's own random numbers are not affected.

    Returns:
        PHW[D], the probability of any class but 0, 0 .. 1.

    Raises:
        ValueError: for fewer than 2 passes, and for a network of a single class or without a dropout layer of a
            probability above 0, whose passes would all be the same.
    """
    _require_passes(passes)
    layers = _dropout_layers(network)
    if not layers:
        raise ValueError(
            f"network {type(network).__name__} has no dropout layer with a probability above 0: all passes would be "
            "the same; take turned_passes, or train with network_def#dropout 0.5"
        )
    cuda = [image.device] if image.device.type == "cuda" else []
    with _evaluating(network), torch.random.fork_rng(devices=cuda):
        # torch.manual_seed would seed every device, and leave those that are not forked so
        torch.default_generator.manual_seed(seed)
        for device in cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        for layer in layers:
            layer.train()
        return torch.stack([_foreground(network, inferer, image) for _ in range(passes)])


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
    return max(0.0, float(_information(probabilities).mean()))


def epistemic_map(probabilities: torch.Tensor) -> torch.Tensor:
    """What :func:`epistemic_score` is the mean of.

    Args:
        probabilities: PHW[D] of at least 2 passes, each 0 .. 1.

    Returns:
        HW[D], fp64, 0 .. ln 2.

    Raises:
        ValueError: as there.
    """
    return _information(probabilities).clamp(min=0)


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


def _require_passes(passes: int) -> None:
    if passes < 2:
        raise ValueError(f"passes must be at least 2 (2 is the nearest, 8 is usual), got {passes}")


def _dropout_layers(network: nn.Module) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, _DropoutNd) and module.p > 0]


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Within, the network is in evaluation mode; afterwards every layer is in the mode in which it was."""
    before = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


@torch.no_grad()
def _foreground(network: nn.Module, inferer: Inferer, image: torch.Tensor) -> torch.Tensor:
    plain = image.as_tensor() if isinstance(image, MetaTensor) else image
    logits: torch.Tensor = inferer(plain[None], network)[0]
    if getattr(inferer, "probability_of", None) is not None:  # it gives that of the cells already
        return logits[0]
    if len(logits) < 2:
        raise ValueError("the network must have at least 2 classes, background first, got 1")
    return torch.softmax(logits, dim=0)[1:].sum(0).clamp(0, 1)


def _checked(p: torch.Tensor, name: str) -> torch.Tensor:
    """Probabilities in fp64 on the processor."""
    p = torch.as_tensor(p).detach().to("cpu", torch.float64)
    if p.numel() == 0:
        raise ValueError(f"{name} must hold at least one px, got shape {tuple(p.shape)}")
    if p.isnan().any() or p.min() < 0 or p.max() > 1:
        raise ValueError(f"{name} must be 0 .. 1 without NaN, got {p.min():g} .. {p.max():g}: are these logits?")
    return p


def _information(probabilities: torch.Tensor) -> torch.Tensor:
    """Entropy of the mean minus mean of the entropies; rounding leaves some 1e-17 below 0 where all agree."""
    p = _checked(probabilities, "probabilities")
    if p.dim() < 3 or len(p) < 2:
        raise ValueError(f"probabilities must be PHW[D] of at least 2 passes, got {tuple(p.shape)}")
    return torch.sub(_entropy(p.mean(0)), _entropy(p).mean(0))


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

"""The probability of "cell" in one pass, and in several that disagree where the network is unsure.

Networks that fit the annotated images equally well disagree elsewhere. Monte Carlo dropout samples such networks (Gal
and Ghahramani 2016); a network without dropout is asked with the image turned and mirrored (test-time augmentation,
Wang et al. 2019). Scores of the passes are in :mod:`bundle.inference.uncertainty`.

All functions take a ``network`` that maps to logits of at least two classes, class 0 being background, and restore the
mode of each of its layers; an ``inferer`` such as :class:`bundle.inference.overlap_tile.OverlapTileInferer`; and an
``image`` CHW[D], as the network was trained on (standardized), on the network's device. They give the probability of
any class but 0, fp32 or better, and raise ValueError for a network of a single class.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from bundle.inference.tta import each_turned, members, turned_plane


def foreground_probability(network: nn.Module, inferer: Inferer, image: torch.Tensor) -> torch.Tensor:
    """One pass with the whole network in evaluation mode: HW[D]."""
    with _evaluating(network):
        return _foreground(network, inferer, image)


def disagreeing_passes(
    network: nn.Module, inferer: Inferer, image: torch.Tensor, passes: int = 8, seed: int = 0
) -> torch.Tensor:
    """:func:`dropout_passes` of a network that has dropout, :func:`turned_passes` of one that has none: PHW[D]."""
    if _dropout_layers(network):
        return dropout_passes(network, inferer, image, passes, seed)
    return turned_passes(network, inferer, image, passes)


def turned_passes(network: nn.Module, inferer: Inferer, image: torch.Tensor, passes: int = 8) -> torch.Tensor:
    """The image turned and mirrored, and what comes of it turned back: PHW[D] of at most eight passes.

    Where the training turned and mirrored its tiles too, all passes agree on what the network has learned.

    Raises:
        ValueError: for fewer than 2 passes, and for a volume without two axes that may be turned.
    """
    _require_passes(passes)
    plane = turned_plane(network.geometry, image.dim() - 1, getattr(inferer, "spacing", None))  # type: ignore[arg-type]
    with _evaluating(network):
        found = each_turned(
            image[None],
            lambda given: _foreground(network, inferer, given[0])[None, None],
            members("d4", plane)[:passes],
        )
        return torch.cat(list(found))[:, 0]


def dropout_passes(
    network: nn.Module, inferer: Inferer, image: torch.Tensor, passes: int = 8, seed: int = 0
) -> torch.Tensor:
    """Passes that differ in what dropout leaves out: PHW[D].

    Only the dropout layers are active. Batch normalisation uses its running statistics, or a tile's content would
    change the result and the network would learn while it is asked. An inferer that tiles draws a new mask for every
    tile: a single pass may show seams, and is reproduced only with the same tile size; the statistics over passes at
    a pixel do not depend on it.

    Args:
        network, inferer, image: see above.
        passes: at least 2; on a processor each takes as long as a segmentation.
        seed: the same one gives the same passes; torch's own random numbers are not affected.

    Raises:
        ValueError: for fewer than 2 passes, and for a network without a dropout layer of a probability above 0, whose
            passes would all be the same.
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
    if getattr(inferer, "probability_of", None) is not None:  # probabilities: that of "cell", or of every class
        return logits[0] if len(logits) == 1 else logits[1:].sum(0).clamp(0, 1)
    if len(logits) < 2:
        raise ValueError("the network must have at least 2 classes, background first, got 1")
    return torch.softmax(logits, dim=0)[1:].sum(0).clamp(0, 1)

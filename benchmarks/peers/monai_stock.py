"""BasicUNet as MONAI's tutorials train it: DiceCE, Rand2DElastic, Adam, sliding windows.

``python -m benchmarks.peers.monai_stock --dataset_dir data/isbi2012 --minutes 40``. Nothing in it is of this bundle
but the split of the slices and the measures. What the tutorials leave open, and how it was chosen, is in README.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import CacheDataset, DataLoader
from monai.inferers import SlidingWindowInferer
from monai.losses import DiceCELoss
from monai.networks.nets import BasicUNet
from monai.transforms import (
    Compose,
    EnsureChannelFirstd,
    LoadImaged,
    NormalizeIntensityd,
    Rand2DElasticd,
    RandFlipd,
    RandRotate90d,
    RandScaleIntensityd,
    RandShiftIntensityd,
    RandSpatialCropd,
)
from monai.utils import set_determinism
from numpy.typing import NDArray

from benchmarks.peers.clock import timed_steps
from benchmarks.peers.command import make_parser, run
from benchmarks.peers.data import write_image, write_label
from benchmarks.peers.report import HELD_OUT, Outcome
from bundle.data.item import Item

FEATURES = (16, 32, 64, 128, 256, 16)
LEARNING_RATE = 1e-3
OVERLAP = 0.5
SMALLEST_PATCH = 32
_KEYS = ("image", "label")


def stock(options: argparse.Namespace, parts: Mapping[str, Sequence[Item]], folder: Path) -> Outcome:
    """Train on "training", then segment the other parts, with and without averaging over rotations and mirrorings."""
    if options.patch_size < SMALLEST_PATCH:
        raise ValueError(f"patch_size must be at least {SMALLEST_PATCH} px (four poolings), got {options.patch_size}")
    if options.batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {options.batch_size}")
    if options.steps < 0:
        raise ValueError(f"steps must be at least 1, or 0 for --minutes, got {options.steps}")
    set_determinism(options.seed)
    start = time.perf_counter()
    files = [_write(item, folder / "slices", with_label=True) for item in parts["training"]]
    dataset = CacheDataset(files, Compose([*load(_KEYS), *augment(options.patch_size)]), progress=False)
    loader = DataLoader(dataset, batch_size=options.batch_size, shuffle=True, num_workers=0)
    network = BasicUNet(spatial_dims=2, in_channels=1, out_channels=2, features=FEATURES)
    prepared = time.perf_counter()
    losses = train(network, endless(loader), options.minutes, options.precision, options.steps)
    trained = time.perf_counter()
    torch.save(network.state_dict(), folder / "model.pt")

    seconds = {"preparation": prepared - start, "training": trained - prepared}
    probabilities: dict[str, dict[str, NDArray[np.float32]]] = {}
    for part in (HELD_OUT, "validation"):
        images = [_write(item, folder / "slices") for item in parts[part]]
        for averaging in ("none", "d4") if images else ():
            begun = time.perf_counter()
            found = predict(network, images, averaging, options.patch_size, options.precision)
            probabilities.setdefault(part, {})[averaging] = found
            seconds[f"inference, {part}, {averaging}"] = time.perf_counter() - begun
    settings = {
        "network": f"BasicUNet, features {FEATURES}",
        "parameters": sum(weights.numel() for weights in network.parameters()),
        "patch_size": options.patch_size,
        "batch_size": options.batch_size,
        "optimizer": f"Adam, {LEARNING_RATE:g} falling to 0 along half a cosine of the elapsed time or steps",
        "precision": options.precision,
        "overlap": OVERLAP,
    }
    return Outcome(probabilities, len(losses), seconds, losses, settings)


def train(
    network: torch.nn.Module,
    batches: Iterator[Any],
    minutes: float,
    precision: str = "fp32",
    steps: int = 0,
    ignore: int | None = None,
) -> list[float]:
    """Train for so many minutes of a core, or so many steps; the loss of every step.

    Args:
        network: maps (B, 1, H, W) images to (B, 2, H, W) logits; is trained in place.
        batches: dicts of "image" (B, 1, H, W) and "label" (B, 1, H, W), 0 or 1, as long as they are asked for.
        minutes: see :func:`benchmarks.peers.clock.timed_steps`; loading and augmentation count.
        precision: "fp32", or "bf16" for a forward pass under autocast.
        steps: instead of minutes; 0: minutes.
        ignore: label of pixels that do not count; None: all count.
    """
    loss_function = DiceCELoss(to_onehot_y=True, softmax=True)
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    losses = []
    network.train()
    for progress in (step / steps for step in range(steps)) if steps else timed_steps(minutes):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * 0.5 * (1 + np.cos(np.pi * progress))
        batch = next(batches)
        label = batch["label"]
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            outputs = network(batch["image"])
        if ignore is not None and (label == ignore).any():  # the others, as one row of pixels
            known = label[:, 0] != ignore
            outputs, label = outputs.movedim(1, 0)[None, :, known], label.movedim(1, 0)[None, :, known]
        loss = loss_function(outputs.float(), label)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@torch.no_grad()
def predict(
    network: torch.nn.Module, files: Sequence[Mapping[str, str]], averaging: str, patch_size: int, precision: str
) -> NDArray[np.float32]:
    """Probability of cell by sliding windows, (N, H, W).

    Args:
        network: see :func:`train`.
        files: dicts with the path of an "image".
        averaging: "none", or "d4" for :func:`d4`.
        patch_size: side of the window, px.
        precision: see :func:`train`.
    """
    inferer = SlidingWindowInferer(roi_size=(patch_size,) * 2, sw_batch_size=4, overlap=OVERLAP, mode="gaussian")

    def logits(image: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            return inferer(image, network).float()  # type: ignore[union-attr]

    network.eval()
    found = []
    read = Compose(load(("image",)))
    for item in files:
        image = read(dict(item))["image"].as_tensor()[None]
        scores = d4(logits, image) if averaging == "d4" else logits(image)
        found.append(scores.softmax(dim=1)[0, 1].numpy().T)  # MONAI's (x, y) to rows
    return np.stack(found)


def d4(logits: Callable[[torch.Tensor], torch.Tensor], image: torch.Tensor) -> torch.Tensor:
    """Mean of the scores of an image, BCHW, over its eight rotations and mirrorings; what ``logits`` gives is BNHW."""
    total = torch.zeros(())
    for mirrored in (False, True):
        for turns in range(4):
            view = torch.rot90(image.flip(2) if mirrored else image, turns, dims=(2, 3))
            back = torch.rot90(logits(view), -turns, dims=(2, 3))
            total = total + (back.flip(2) if mirrored else back)
    return total / 8


def load(keys: Sequence[str]) -> list[Callable[..., Any]]:
    return [LoadImaged(keys), EnsureChannelFirstd(keys), NormalizeIntensityd("image")]


def augment(patch_size: int) -> list[Callable[..., Any]]:
    """Crop, then deform and rotate, mirror and change grey values; the label by nearest neighbours."""
    return [
        RandSpatialCropd(_KEYS, roi_size=(patch_size,) * 2, random_size=False),
        Rand2DElasticd(
            _KEYS,
            prob=0.5,
            spacing=(30, 30),
            magnitude_range=(1, 4),
            rotate_range=np.pi,
            scale_range=(0.1, 0.1),
            mode=("bilinear", "nearest"),
            padding_mode="reflection",
        ),
        RandFlipd(_KEYS, prob=0.5, spatial_axis=0),
        RandFlipd(_KEYS, prob=0.5, spatial_axis=1),
        RandRotate90d(_KEYS, prob=0.5),
        RandScaleIntensityd("image", factors=0.1, prob=0.5),
        RandShiftIntensityd("image", offsets=0.1, prob=0.5),
    ]


def endless(loader: DataLoader) -> Iterator[Any]:
    while True:
        yield from loader


def _write(item: Item, folder: Path, with_label: bool = False) -> dict[str, str]:
    """A slice as PNG, and its label only where it trains."""
    image, label = (folder / key / f"{item['name']}.png" for key in _KEYS)
    write_image(item, image)
    if not with_label:
        return {"image": str(image)}
    write_label(item, label)
    return {"image": str(image), "label": str(label)}


def main(argv: Sequence[str] | None = None) -> int:
    parser = make_parser("monai_stock", (__doc__ or "").split("\n")[0], "monai_basicunet")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="bf16: autocast (default fp32)")
    parser.add_argument("--patch_size", type=int, default=256, help="side of crops and windows, px (default 256)")
    parser.add_argument("--batch_size", type=int, default=4, help="crops a step, each of another slice (default 4)")
    parser.add_argument(
        "--steps", type=int, default=0, help="train for so many instead of minutes (default 0: minutes)"
    )
    return run(parser, stock, argv)


if __name__ == "__main__":
    sys.exit(main())

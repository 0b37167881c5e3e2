"""MONAI's BasicUNet on cells: the recipe of benchmarks.peers.monai_stock with touching cells cut apart.

``python -m benchmarks.peers.cells.basic_unet_peer --split SPLIT --output_dir OUT``
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tifffile
from monai.data import CacheDataset, DataLoader
from monai.networks.nets import BasicUNet
from monai.transforms import Compose
from monai.utils import set_determinism

from benchmarks.peers.cells.files import cpu_minutes, options_of, read, read_training, write_facts
from benchmarks.peers.cells.semantic import UNKNOWN, cells_of, write_pairs
from benchmarks.peers.monai_stock import FEATURES, augment, endless, load, predict, train

_KEYS = ("image", "label")
_BATCH = 4


def main(argv: Sequence[str] | None = None) -> None:
    options = options_of((__doc__ or "").split("\n")[0], argv)
    set_determinism(options.seed)
    training, segmented = read_training(options.split, partly=True), read(options.split, options.part)
    folder = options.output_dir / "png"
    names = write_pairs(training, folder / "image", folder / "label")
    files = [{key: str(folder / key / f"{name}.png") for key in _KEYS} for name in names]
    side = min(256, *(min(image.shape[:2]) for image, _ in training.values())) // 16 * 16
    dataset = CacheDataset(files, Compose([*load(_KEYS), *augment(side)]), progress=False)
    network = BasicUNet(spatial_dims=2, in_channels=1, out_channels=2, features=FEATURES)
    batches = endless(DataLoader(dataset, batch_size=min(_BATCH, len(files)), shuffle=True, num_workers=0))
    began = cpu_minutes()
    losses = train(network, batches, options.minutes, ignore=UNKNOWN)
    write_facts(options, ("monai", "torch"), steps=len(losses), cpu_minutes=cpu_minutes() - began, patch_size=side)
    names = write_pairs(segmented, folder / "segmented", None)
    found = [{"image": str(folder / "segmented" / f"{name}.png")} for name in names]
    for name, item in zip(names, found, strict=True):
        probability = predict(network, [item], "none", side, "fp32")[0]
        tifffile.imwrite(options.output_dir / f"{name}_cells.tif", np.ascontiguousarray(cells_of(probability)))


if __name__ == "__main__":
    main()

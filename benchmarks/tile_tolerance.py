"""How far the probabilities of one image are apart when only the tile size differs: the rounding of the convolutions.

``python -m benchmarks.tile_tolerance --image train-volume.tif --checkpoint models/em_membranes.pt`` segments the first
slice with each tile size, fp32, and prints the greatest difference to the first of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import torch

from bundle.data.load_slice import LoadSlice
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.model import TrainedNetwork
from transforms import Standardize


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each tile size."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tile_tolerance")
    parser.add_argument("--image", required=True)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--tile_sizes", type=int, nargs="+", default=[700, 572, 476, 380, 316, 252, 220])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    network = TrainedNetwork(options.checkpoint).load().eval()
    loaded = LoadSlice(spatial_dims=None)(options.image)
    image = Standardize()(np.asarray(loaded[..., 0] if loaded.ndim == 4 else loaded))[None]
    first: torch.Tensor | None = None
    for tile in options.tile_sizes:
        found = OverlapTileInferer(tile, probability_of=1)(image, network)
        first = found if first is None else first
        apart = (found - first).abs()
        print(
            f"{tuple(image.shape[2:])} px, tile {tile}: at most {float(apart.max()):.2g} from tile "
            f"{options.tile_sizes[0]}, {float((apart > 0).float().mean()):.1%} of the pixels differ",
            flush=True,
        )


if __name__ == "__main__":
    main()

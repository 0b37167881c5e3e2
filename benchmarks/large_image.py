"""What a whole inference of one large image takes of memory: image, tiles, cells and files written.

``python -m benchmarks.large_image --side 12000 --max_memory "300 MiB"`` makes an image of blobs and a network of width
4 that finds them, segments it by configs/inference.json, and prints the peak of the process, interpreter included.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile
import torch
from scipy import ndimage

from bundle.model import checkpoints
from bundle.networks import UNet

__all__ = ["main", "small_network"]

_RUN = """
import sys, time
from pathlib import Path
from monai.bundle import ConfigWorkflow
images, out, model, bound = sys.argv[1:]
flow = ConfigWorkflow("configs/inference.json", workflow_type="infer", logging_file=False, dataset_dir=images,
    output_dir=out, checkpoint=model, max_memory=bound or None, device="$torch.device('cpu')")
flow.initialize()
flow.run()
status = Path("/proc/self/status").read_text().splitlines()
print(next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM")), time.process_time())
"""


def small_network(depth: int = 4) -> UNet:
    """Of width 4; bright pixels are cells: what comes out needs no training."""
    network = UNet(2, 1, 2, base_channels=4, depth=depth)
    for parameter in network.parameters():
        parameter.data.mul_(0.01)
    first, last = network.down[0], network.merge[-1]
    for block, channel in ((first, 0), (last, 4)):
        convolutions = [layer for layer in block.modules() if isinstance(layer, torch.nn.Conv2d)]
        for convolution, (one, other) in zip(convolutions, ((channel, channel + 1), (0, 1)), strict=True):
            convolution.weight.data.zero_()
            begins = block is first and convolution is convolutions[0]
            convolution.weight.data[0, 0 if begins else one, 1, 1] = 1
            convolution.weight.data[1, 0 if begins else other, 1, 1] = -1 if begins else 1
    network.classify.weight.data.zero_()
    network.classify.weight.data[1, :2, 0, 0] = torch.tensor([3.0, -3.0])
    return network


def main(arguments: Sequence[str] | None = None) -> None:
    """Print peak, bytes a pixel and CPU time."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.large_image", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--side", type=int, default=12000, help="px")
    parser.add_argument("--max_memory", default="", help="of configs/inference.json, as '300 MiB'; default: none")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        images, out, model = Path(folder, "images"), Path(folder, "out"), Path(folder, "model.pt")
        images.mkdir()
        block = ndimage.gaussian_filter(np.random.RandomState(0).randn(1000, 1000), 6, mode="wrap")
        block = np.clip(127 + 60 * block / block.std(), 0, 255).astype(np.uint8)
        repeats = -(-options.side // len(block))
        tifffile.imwrite(images / "blobs.tif", np.tile(block, (repeats, repeats))[: options.side, : options.side])
        checkpoints.write(model, small_network().state_dict())
        began = time.time()
        command = [sys.executable, "-c", _RUN, *map(str, (images, out, model, options.max_memory))]
        done = subprocess.run(command, cwd=Path(__file__).parent.parent, stdout=subprocess.PIPE, text=True, check=True)
        peak, cpu = map(float, done.stdout.split()[-2:])
        cells = int(tifffile.imread(out / "blobs_cells.tif").max())
    took = f"{cpu:.0f} s of CPU, {time.time() - began:.0f} s"
    print(
        f"{options.side} x {options.side} px, max_memory {options.max_memory or 'none'}: {cells} cells, peak "
        f"{peak / 1e9:.2f} GB, {peak / options.side**2:.1f} bytes a pixel, {took}"
    )


if __name__ == "__main__":
    main()

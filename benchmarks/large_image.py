"""What a whole inference of one large image takes of memory: image, tiles, cells and files written.

``python -m benchmarks.large_image --side 12000 --max_memory "300 MiB"`` makes an image of blobs and a network of width
4 that finds them, segments it by configs/inference.json, and prints the peak of the process, interpreter included.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from benchmarks.large_samples import INFERENCE, blobs, small_network
from bundle.model import checkpoints

_TOLD = """
import time
from benchmarks.memory import status
print(status("VmHWM"), time.process_time())
"""


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
        block = blobs()
        repeated = np.arange(options.side) % len(block)
        tifffile.imwrite(images / "blobs.tif", block[np.ix_(repeated, repeated)])
        checkpoints.write(model, small_network().state_dict())
        began = time.time()
        given: dict[str, Any] = {"dataset_dir": str(images), "output_dir": str(out), "checkpoint": str(model)}
        given |= {"max_memory": options.max_memory or None, "device": "$torch.device('cpu')"}
        command = [sys.executable, "-c", INFERENCE + _TOLD, json.dumps(given)]
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

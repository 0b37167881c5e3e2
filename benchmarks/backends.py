"""One network on one image, by each backend of the inference."""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch

from benchmarks.inference import prepared_backends, ready_unet
from benchmarks.timing import TIMING_COLUMNS, Options, Table, interleave, require, timing_cells
from bundle.inference.overlap_tile import OverlapTileInferer

COLUMNS = (*TIMING_COLUMNS, "preparation, s", "difference")
#: largest difference from eager fp32 over the largest logit, beyond which a time would mean nothing
TOLERANCE = {"fp32": 1e-4, "bf16": 0.25}


def run(options: Options, size: int = 512) -> Iterator[Table]:
    """One table for each precision, beginning with the network as it is: eager torch, nothing folded.

    The network has batch normalisation and random weights; all cut the same tiles. "preparation": what the first
    image takes longer than the later ones; torch.compile keeps most of it on the disk for the next process.
    "difference": the largest from the network as it is in fp32, over the largest logit.
    """
    torch.manual_seed(options.seed)
    width = options.base_channels
    network = ready_unet(width, options.device)
    image = torch.rand(1, 1, size, size, device=options.device)
    tile = network.geometry.input_sizes((size, size))
    exact = OverlapTileInferer(tile)(image, network)
    for precision in ("fp32", "bf16"):
        inferer = OverlapTileInferer(tile, precision=precision)
        backends = prepared_backends(network, precision, options.device)
        predictors = {"as it is": network, **{name: found for name, found in backends.items() if found is not None}}
        prepared, difference = {}, {}
        for name, predictor in predictors.items():
            start = time.perf_counter()
            logits = inferer(image, predictor)
            prepared[name] = time.perf_counter() - start
            difference[name] = ((logits - exact).abs().max() / exact.abs().max()).item()
            found = f"{name}, {precision}: differs from eager fp32 by {difference[name]:.2g}"
            require(difference[name] < TOLERANCE[precision], found)
        contenders = {name: lambda run=inferer, by=by: run(image, by) for name, by in predictors.items()}
        timings = interleave(contenders, options.few, options.device)
        rows = [
            [name, *timing_cells(timing), f"{max(0, prepared[name] - timing.median):.1f}", f"{difference[name]:.1e}"]
            for name, timing in timings.items()
        ]
        title = f"backends, {size} x {size} px, one tile of {tile} px, width {width}, {precision}, {options.device}"
        absent = [name for name, found in backends.items() if found is None]
        rows += [[f"{name}: not installed", *["-"] * len(COLUMNS)] for name in absent]
        yield Table(title, ("", *COLUMNS), rows)

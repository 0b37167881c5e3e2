"""A network in int8 beside the same one in bf16, and beside MONAI's U-Net with its sliding window."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from monai.inferers import SlidingWindowInferer

from benchmarks.inference import Predict, overlap_tile, padded, ready_unet, stock_unet
from benchmarks.targets import at_least
from benchmarks.timing import Options, Table, interleave, relative_error, require, timing_table
from bundle.inference.backends import prepare_network
from bundle.inference.backends.calibration import calibrated
from bundle.inference.overlap_tile import OverlapTileInferer

#: of the logits from those in fp32, over the largest: random weights, random images
TOLERANCE = 0.5


def run(options: Options, size: int = 512, window: int = 256) -> Iterator[Table]:
    """One table at width 16 and at the chosen one: an image of ``size`` px in one tile, random weights, batch
    normalisation; the int8 network is calibrated on four other images.
    """
    for width in sorted({16, options.base_channels}):
        torch.manual_seed(options.seed)
        network = ready_unet(width)
        geometry = network.geometry
        (tile,) = geometry.input_sizes([size])
        with torch.no_grad():
            int8 = calibrated(network, [torch.rand(1, 1, tile, tile) for _ in range(4)])
        stock = stock_unet(width).eval()
        image = torch.rand(1, 1, size, size)
        quantised = prepare_network(network, "openvino", int8)
        inferer = OverlapTileInferer(tile, precision="int8")
        windows = SlidingWindowInferer(window, sw_batch_size=4, overlap=0.5, mode="gaussian")
        sliding = f"BasicUNet, SlidingWindowInferer {window} px, bf16"
        contenders: dict[str, Predict] = {
            "int8, openvino": partial(inferer, image, quantised),
            "bf16, openvino": overlap_tile(prepare_network(network, "openvino"), image, "bf16", tile),
            "bf16, eager": overlap_tile(prepare_network(network), image, "bf16", tile),
            "fp32, openvino": overlap_tile(prepare_network(network, "openvino"), image, "fp32", tile),
            sliding: padded(stock, image, "bf16", windows),
        }
        error = relative_error(contenders["int8, openvino"](), contenders["fp32, openvino"]())
        require(error < TOLERANCE, f"int8 differs from fp32 by {error:.2g}")
        small = OverlapTileInferer(geometry.axes(1)[0].smallest_input + 8 * geometry.axes(1)[0].step, precision="int8")
        require(
            torch.equal(small(image, quantised), contenders["int8, openvino"]()), "int8: tiles differ from one pass"
        )
        timings = interleave(contenders, options.repeats, "cpu")
        part = f"inference {size} x {size} px, width {width}, int8"
        targets = [at_least(part, "the same in bf16, OpenVINO", timings["bf16, openvino"].ratio, 1.7)]
        if width == options.base_channels:
            targets.append(at_least(part, sliding, timings[sliding].ratio, 6))
        yield timing_table(f"int8, {size} x {size} px, one tile of {tile} px, width {width}", timings, targets)

"""Whether what is about to be packaged gives what this bundle gives."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import torch

from bundle.inference.cutting import cut
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.inference.packages.wrapper import rows_and_columns
from bundle.networks.sized import SizedNetwork

#: of a probability
TOLERANCE = 1e-5

Predict = Callable[[torch.Tensor], torch.Tensor]


def blockwise(predict: Predict, image: torch.Tensor, halo: tuple[int, ...], inner: tuple[int, ...]) -> torch.Tensor:
    """What a program of bioimage.io makes of an image: blocks with a halo, which it crops from each output.

    Args:
        predict: BCHW to BNHW.
        image: BCHW, mirrored beyond its edges where blocks reach there.
        halo: px around a block.
        inner: px that a block contributes, less than the image; the last block moves back to the image's end.
    """
    rows, columns = image.shape[2:]
    image = cut(image, [(-around, n + around) for n, around in zip((rows, columns), halo, strict=True)])
    starts = ([min(at, n - side) for at in range(0, n, side)] for n, side in zip((rows, columns), inner, strict=True))
    output: torch.Tensor | None = None
    for top, left in product(*starts):
        block = image[:, :, top : top + inner[0] + 2 * halo[0], left : left + inner[1] + 2 * halo[1]]
        found = predict(block)[:, :, halo[0] : halo[0] + inner[0], halo[1] : halo[1] + inner[1]]
        output = found.new_full((*found.shape[:2], rows, columns), torch.nan) if output is None else output
        output[:, :, top : top + inner[0], left : left + inner[1]] = found
    assert output is not None
    return output


def inferred(network: SizedNetwork, image: torch.Tensor) -> torch.Tensor:
    """What this bundle makes of a standardized image, BCHW with rows first: the probability of each class, BNHW."""
    whole: torch.Tensor = OverlapTileInferer(probability_of="all")(image.transpose(2, 3), network)
    return whole.transpose(2, 3)


@torch.no_grad()
def require_equal(predict: Predict, network: SizedNetwork, image: torch.Tensor, what: str) -> torch.Tensor:
    """Check that blocks with a halo give what :class:`OverlapTileInferer` gives.

    Args:
        predict: what is packaged.
        network: what it was made from.
        image: BCHW, standardized; sides are multiples of the steps.
        what: how messages call it.

    Returns:
        what the inferer gives, BNHW.

    Raises:
        RuntimeError: for a difference above :data:`TOLERANCE`.
    """
    axes = rows_and_columns(network)
    halo = tuple(axis.halo for axis in axes)
    inner = tuple(
        max(axis.step, n // 3 // axis.step * axis.step) for axis, n in zip(axes, image.shape[2:], strict=True)
    )
    ours = inferred(network, image)
    _require(blockwise(predict, image, halo, inner), ours, f"{what}, in blocks of {inner} px with a halo of {halo} px")
    return ours


def require_onnx_at_other_sizes(onnx: bytes, predict: Predict, image: torch.Tensor, smallest: tuple[int, int]) -> None:
    """Check an ONNX model at three sizes and two sizes of the batch.

    Args:
        onnx: the model.
        predict: what it was made from.
        image: BCHW, larger than ``smallest`` along both axes.
        smallest: px that a program may hand over.

    Raises:
        RuntimeError: for a difference above :data:`TOLERANCE`.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    rows, columns = image.shape[2:]
    for batch, height, width in ((1, *smallest), (1, rows, smallest[1]), (2, smallest[0], columns)):
        tile = image[:, :, :height, :width].repeat(batch, 1, 1, 1)
        found = torch.from_numpy(session.run(None, {name: tile.numpy()})[0])
        with torch.no_grad():
            _require(found, predict(tile), f"ONNX at {tuple(tile.shape)}")


def _require(found: torch.Tensor, expected: torch.Tensor, what: str) -> None:
    difference = float((found - expected).abs().max()) if found.shape == expected.shape else torch.inf
    if not difference <= TOLERANCE:  # NaN, too
        raise RuntimeError(
            f"the package is not written: {what}, differs by {difference:.2g} from the network (at most "
            f"{TOLERANCE:g} is allowed); this is a mistake of this bundle, please report it"
        )

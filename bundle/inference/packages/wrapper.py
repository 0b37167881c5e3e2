"""What a package holds: the network between mirroring and softmax, so that as much comes out as goes in."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from bundle.geometry import AxisGeometry
from bundle.networks.sized import SizedNetwork


def rows_and_columns(network: SizedNetwork) -> tuple[AxisGeometry, ...]:
    """Sizes along height and width: other programs have rows first, MONAI reads images with columns (x) first."""
    return network.geometry.axes(2)[::-1]


class PackagedNetwork(nn.Module):
    """A seamless network as other programs take one: any size in, probabilities of the same size out.

    Programs cut an image into blocks with a halo, and drop the halo of the output. The image is mirrored here by the
    network's margin, as :class:`bundle.inference.overlap_tile.OverlapTileInferer` does it, and beyond that to the next
    valid size. A block whose halo is the margin rounded up to the step (``AxisGeometry.halo``), and which begins at a
    multiple of the step, therefore gives what one pass over the whole mirrored image gives.

    Args:
        network: of two spatial axes.

    Shape:
        input: BCHW, rows first, standardized; H and W larger than margin + step.
        output: BNHW, the softmax over the classes.
    """

    def __init__(self, network: SizedNetwork) -> None:
        super().__init__()
        self.network = network
        axes = rows_and_columns(network)
        # numbers, which TorchScript keeps
        self.margins = [axis.margin for axis in axes]
        self.steps = [axis.step for axis in axes]
        self.smallest = [axis.smallest_input for axis in axes]

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        rows, columns = image.shape[2], image.shape[3]
        below, right = self._after(rows, 0), self._after(columns, 1)
        mirrored = F.pad(image, [self.margins[1], right, self.margins[0], below], mode="reflect")
        logits = self.network(mirrored.transpose(2, 3)).transpose(2, 3)
        return torch.softmax(logits, dim=1)[:, :, :rows, :columns]

    def _after(self, n: int, axis: int) -> int:
        """How far ``n`` px are mirrored behind: by the margin, and on to a valid size (``input_size``)."""
        margin = self.margins[axis]
        return margin + (self.smallest[axis] - 2 * margin - n) % self.steps[axis]

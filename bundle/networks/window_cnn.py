"""The per-pixel classifier of Ciresan, Giusti, Gambardella and Schmidhuber (2012), which went before the U-Net.

It sees a square window and says what the pixel in its middle is. A map takes one pass a pixel, of which neighbours
repeat nearly all: that redundancy is the first of the two reasons that the U-Net's authors give for theirs. The same
weights also give the whole map in one pass, as was found soon after (Giusti and others, 2013).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from bundle.geometry import WindowGeometry, mirror_indices
from bundle.networks.arguments import require_counts
from bundle.networks.sized import SizedNetwork

#: window in px -> kernel of the convolution of each stage. All sizes on the way are even before a pooling, so that
#: no row of the window is lost: 95 -> 92 46 42 21 18 9 6 3 and 65 -> 62 31 28 14 10 5.
WINDOWS = {65: (4, 4, 5), 95: (4, 5, 4, 4)}


class WindowCNN(SizedNetwork):
    """Stages of (valid convolution, ReLU, 2x2 max-pooling), a hidden layer of fully connected units, one logit a class.

    A window goes through as the paper has it, with pooling of stride 2. A larger image gives the same classifier's
    answer for every window in it, at every pixel: poolings take steps of 1, and what follows them is dilated by 2, 4,
    8, ..., so that it reads the same values that it would find in the pooled window. That computes nothing twice; it is
    equal to one pass a window (:func:`per_pixel`) up to rounding.

    Args:
        in_channels: channels of the image, at least 1.
        out_channels: number of classes, at least 1.
        window: side of the window in px, one of :data:`WINDOWS`. 95 is the paper's network N4, of four stages.
        base_channels: maps of every stage. The paper's N4 has 48.
        hidden_units: of the fully connected layer. The paper's has 200.

    Shape:
        input: BCHW, each side at least ``window`` px.
        output: BNHW logits, smaller than the input by ``window - 1`` px along both axes: BN11 for windows.

    Raises:
        ValueError: for arguments outside what is allowed, and in ``forward`` for an image smaller than the window or a
            wrong number of channels or axes.

    Note:
        What is approximated. The layers of 95 px are those of the paper's N4. We did not have the layers of its
        networks of 65 px: here they are the three stages closest to N4's that lose no row. Units are rectified and
        weights drawn as the U-Net's here, Gaussian with std sqrt(2 / N), whatever the paper's were. Left out are its
        foveated and non-uniformly sampled windows, the average over four networks, the polynomial that calibrates their
        probabilities, and the median filter. Without the calibration a network trained on balanced windows takes both
        classes to be equally frequent, and so finds too much of the rarer one.

    Examples:
        >>> network = WindowCNN(in_channels=1, out_channels=2, window=95)
        >>> network.geometry.output_size(606), network.geometry.margin
        (512, 47)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        window: int = 95,
        base_channels: int = 48,
        hidden_units: int = 200,
    ) -> None:
        require_counts(
            in_channels=in_channels, out_channels=out_channels, base_channels=base_channels, hidden_units=hidden_units
        )
        if not isinstance(window, int) or window not in WINDOWS:
            raise ValueError(_unknown_window(window))
        super().__init__(2, in_channels, WindowGeometry(window))
        self.window = window

        kernels = WINDOWS[window]
        channels = [in_channels] + [base_channels] * len(kernels)
        self.stages = nn.ModuleList(
            nn.Conv2d(before, after, kernel)
            for before, after, kernel in zip(channels[:-1], channels[1:], kernels, strict=True)
        )
        left = window
        for kernel in kernels:
            left = (left - kernel + 1) // 2
        self.hidden = nn.Conv2d(base_channels, hidden_units, kernel_size=left)  # fully connected: all that is left
        self.classify = nn.Conv2d(hidden_units, out_channels, kernel_size=1)
        self.reset_parameters()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self._check_input(x)
        windows = x.shape[2] == self.window and x.shape[3] == self.window
        stride = 2 if windows else 1
        dilation = 1
        for conv in self.stages:
            x = F.conv2d(x, conv.weight, conv.bias, dilation=dilation)  # type: ignore[arg-type]
            x = F.relu(x, inplace=True)
            x = F.max_pool2d(x, kernel_size=2, stride=stride, dilation=dilation)
            if not windows:
                dilation *= 2
        x = F.relu(F.conv2d(x, self.hidden.weight, self.hidden.bias, dilation=dilation), inplace=True)
        logits: torch.Tensor = self.classify(x)
        return logits


@torch.no_grad()
def per_pixel(
    network: WindowCNN,
    image: torch.Tensor,
    region: Sequence[tuple[int, int]] | None = None,
    batch_size: int = 16,
) -> torch.Tensor:
    """Classify pixels one by one, as the paper did: cut out each one's window and pass it through the network.

    What reaches beyond the image is mirrored. This is here to be measured and compared: a
    :class:`bundle.inference.overlap_tile.OverlapTileInferer` gives the same map in less than a hundredth of the time.

    Args:
        network: in evaluation mode.
        image: BCHW, each side at least the window's.
        region: (start, stop) in px along both axes; None for the whole image.
        batch_size: windows a pass. On a CPU 16 are fastest: their maps stay in the cache.

    Returns:
        BNHW logits of the region.

    Raises:
        ValueError: for a window larger than the image, a region that is empty or reaches beyond the image, or a
            ``batch_size`` below 1.
    """
    if image.dim() != 4:
        raise ValueError(f"image must have the axes BCHW, got shape {tuple(image.shape)}")
    size = tuple(image.shape[2:])
    if min(size) < network.window:
        raise ValueError(
            f"window {network.window} px is larger than the image of {size} px: allowed are images of at least "
            f"{network.window} px along both axes{_smaller_window(min(size))}"
        )
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size must be at least 1 window, got {batch_size}")
    spans = [(0, n) for n in size] if region is None else list(region)
    if len(spans) != 2 or any(not 0 <= start < stop <= n for (start, stop), n in zip(spans, size, strict=True)):
        raise ValueError(
            f"region must be (start, stop) along both axes, within (0, {size[0]}) and (0, {size[1]}) px and not empty, "
            f"got {region}"
        )
    margins = network.geometry.margins(2)
    for axis, ((start, stop), n, margin) in enumerate(zip(spans, size, margins, strict=True), start=2):
        index = torch.tensor(mirror_indices(start - margin, stop + margin, n), device=image.device)
        image = image.index_select(axis, index)
    # a view of all windows: B, H, W of the pixel, then the window's CHW; only a batch of them is ever copied
    windows = image.unfold(2, network.window, 1).unfold(3, network.window, 1).permute(0, 2, 3, 1, 4, 5)
    shape = windows.shape[:3]
    pixels = torch.arange(shape.numel(), device=image.device).split(batch_size)
    logits = torch.cat([network(windows[torch.unravel_index(batch, shape)]).flatten(1) for batch in pixels])
    return logits.reshape(*shape, -1).movedim(-1, 1)


def _unknown_window(window: int) -> str:
    allowed = " or ".join(map(str, WINDOWS))
    numeric = isinstance(window, (int, float)) and math.isfinite(window)
    hint = f"; the nearest is {min(WINDOWS, key=lambda w: abs(w - window))}" if numeric else ""
    return f"window must be {allowed} px, got {window!r}{hint}"


def _smaller_window(side: int) -> str:
    fitting = [window for window in WINDOWS if window <= side]
    return f", or a network with a window of {max(fitting)} px" if fitting else ""

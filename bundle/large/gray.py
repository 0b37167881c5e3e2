"""One pass over an image before any other: mean and deviation of each channel of each slice, exactly."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from bundle.data.channels import Channels, are_equal
from bundle.data.stores import LazyImage
from bundle.geometry import mirror_indices
from transforms.intensity.moments import Moments
from transforms.intensity.standardize import standardized

__all__ = ["GrayValues", "StandardizedImage", "measure"]


@dataclass(frozen=True)
class GrayValues:
    """What standardisation must know of a whole image.

    Attributes:
        moments: of each slice (one of an image that is none, or of a volume) those of each selected channel.
        equal: whether red, green and blue are equal in every pixel, and count as one channel.
    """

    moments: list[list[Moments]]
    equal: bool

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> GrayValues:
        return cls([[Moments(**one) for one in each] for each in content["moments"]], content["equal"])


def measure(image: LazyImage, channels: Channels, by_slice: bool) -> GrayValues:
    """Read an image once, part by part.

    Args:
        image: to be read.
        channels: that are selected of it.
        by_slice: each slice is standardised by itself; otherwise all of the image together.

    Raises:
        ImageError: for parts that are missing or damaged, pixels that are not finite, and channels that do not fit.
    """
    count = image.stated.count
    may_be_gray = channels.may_be_gray(count)
    equal = may_be_gray
    slices = image.size[2] if by_slice and len(image.size) > 2 else 1
    kept: list[list[list[Moments]]] = [[[] for _ in range(slices)] for _ in range(1 + may_be_gray)]
    regions = list(image.regions())
    for spans in tqdm(regions, desc="gray values", unit="part", disable=None if len(regions) > 1 else True):
        pixels = torch.from_numpy(image.read(spans))
        equal = equal and are_equal(pixels)
        for way, totals in enumerate(kept):
            picked = channels.pick(pixels, equal=way == 1).numpy()
            first = spans[2][0] if slices > 1 else 0
            for place in range(picked.shape[3] if slices > 1 else 1):
                of_slice = picked[..., place] if slices > 1 else picked
                found = [Moments.of(channel) for channel in of_slice]
                before = totals[first + place] or [Moments()] * len(found)
                totals[first + place] = [a + b for a, b in zip(before, found, strict=True)]
    channels.require(image.path, image.stated, equal)
    return GrayValues(kept[1 if equal else 0], equal)


class StandardizedImage:
    """Windows of an image as the network sees them: selected channels, standardised, mirrored beyond its border.

    Args:
        image: to be read.
        channels: that are selected of it.
        gray: as :func:`measure` found them.
    """

    def __init__(self, image: LazyImage, channels: Channels, gray: GrayValues) -> None:
        self.image = image
        self.channels = channels
        self.gray = gray

    def window(self, spans: tuple[tuple[int, int], ...], index: int | None = None) -> torch.Tensor:
        """The pixels between (start, stop) along every axis; positions beyond the image are mirrored.

        Args:
            spans: along x, y[, z].
            index: of a stack of slices, the one that is meant; ``spans`` are then along x and y.

        Returns:
            1CHW[D] fp32.
        """
        size = self.image.size[: len(spans)]
        places = [mirror_indices(start, stop, n) for (start, stop), n in zip(spans, size, strict=True)]
        inner = tuple((min(along), max(along) + 1) for along in places)
        pixels = self.image.read(inner if index is None else (*inner, (index, index + 1)))
        picked = self.channels.pick(torch.from_numpy(pixels if index is None else pixels[..., 0]), self.gray.equal)
        moments = self.gray.moments[index or 0]
        ready = torch.stack(
            [standardized(each[..., None], [one])[..., 0] for each, one in zip(picked, moments, strict=True)]
        )
        for axis, (along, (start, stop)) in enumerate(zip(places, inner, strict=True), start=1):
            if along != list(range(start, stop)):
                ready = ready.index_select(axis, torch.from_numpy(np.asarray(along) - start))
        return ready[None].contiguous()

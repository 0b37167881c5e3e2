"""One pass over an image before any other: mean and deviation of each channel of each slice, exactly."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from bundle.data.channels import Channels, are_equal
from bundle.data.context import neighbours
from bundle.data.errors import ImageError, UnreadableImageError
from bundle.data.stores import LazyImage
from bundle.geometry import mirror_indices
from bundle.large.quantiles import Quantiles
from transforms.intensity.moments import Moments
from transforms.intensity.standardize import standardized_part

#: parts of an image that are looked at when a job goes on
_CHECKED = 32

#: values between which a channel of a slice is clipped before
Edges = tuple[float, float] | None


@dataclass(frozen=True)
class GrayValues:
    """What standardisation must know of a whole image.

    Attributes:
        moments: of each slice (one of an image that is none, or of a volume) those of each selected channel.
        equal: whether red, green and blue are equal in every pixel, and count as one channel.
        edges: likewise those of ``robust`` standardisation; None: not asked for.
        checksums: CRC-32 of the pixels of each part, by which :func:`require_unchanged` knows the image again.
    """

    moments: list[list[Moments]]
    equal: bool
    edges: list[list[Edges]] | None = None
    checksums: list[int] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> GrayValues:
        edges = content["edges"]
        return cls(
            [[Moments(**one) for one in each] for each in content["moments"]],
            content["equal"],
            None if edges is None else [[one and (one[0], one[1]) for one in each] for each in edges],
            content["checksums"],
        )


def measure(image: LazyImage, channels: Channels, by_slice: bool, robust: bool = False) -> GrayValues:
    """Read an image once, part by part; three times with ``robust``.

    Args:
        image: to be read.
        channels: that are selected of it.
        by_slice: each slice is standardised by itself; otherwise all of the image together.
        robust: clip as :class:`transforms.Standardize` does.

    Raises:
        ImageError: for parts that are missing or damaged, pixels that are not finite, and channels that do not fit.
    """
    equal = may_be_gray = channels.may_be_gray(image.stated.count)
    channels.require(image.path, image.stated, equal)  # before hours of reading
    slices = image.size[2] if by_slice and len(image.size) > 2 else 1
    regions = list(image.regions())

    checksums: list[int] = []

    def each(what: str, ways: range, collect: Callable[[tuple[int, int, int], np.ndarray], None]) -> None:
        """Give ``collect`` the pixels of (whether colours count as one channel, slice, channel), part by part."""
        nonlocal equal
        for spans in tqdm(regions, desc=what, unit="part", disable=None if len(regions) > 1 else True):
            pixels = torch.from_numpy(image.read(spans))
            if equal and not are_equal(pixels):
                equal = False
                channels.require(image.path, image.stated)
            if len(checksums) < len(regions):
                checksums.append(_checksum(pixels))
            for way in ways if equal else (0,):
                picked = channels.pick(pixels, equal=way == 1).numpy()
                first = spans[2][0] if slices > 1 else 0
                for place in range(picked.shape[3] if slices > 1 else 1):
                    for channel, values in enumerate(picked[..., place] if slices > 1 else picked):
                        collect((way, first + place, channel), values)

    ways = range(1 + may_be_gray)  # whether it is gray is known at the end of the first pass
    edges: dict[tuple[int, int, int], Edges] = {}
    if robust:
        counted: defaultdict[tuple[int, int, int], Quantiles] = defaultdict(Quantiles)
        each("gray values, 1 of 3", ways, lambda key, values: counted[key].count(values))
        ways = range(int(equal), int(equal) + 1)
        each("gray values, 2 of 3", ways, lambda key, values: counted[key].refine(values))
        edges = {key: found.edges() for key, found in counted.items() if key[0] == int(equal)}
    moments: defaultdict[tuple[int, int, int], Moments] = defaultdict(Moments)

    def add(key: tuple[int, int, int], values: np.ndarray) -> None:
        clip = edges.get(key)
        moments[key] += Moments.of(values if clip is None else values.clip(np.float32(clip[0]), np.float32(clip[1])))

    each("gray values, 3 of 3" if robust else "gray values", ways, add)
    count = sum(key[:2] == (int(equal), 0) for key in moments)
    keys = [[(int(equal), place, channel) for channel in range(count)] for place in range(slices)]
    clipped = [[edges[key] for key in of_slice] for of_slice in keys] if robust else None
    return GrayValues([[moments[key] for key in of_slice] for of_slice in keys], equal, clipped, checksums)


def require_unchanged(image: LazyImage, gray: GrayValues) -> None:
    """Check some parts of an image, all of a small one, against what :func:`measure` found when a job was begun.

    A part that cannot be read is no error here: its blocks say so, and are done when it is whole again.

    Raises:
        ImageError: naming a part whose pixels have changed.
    """
    regions = list(image.regions())
    for place in sorted({int(at) for at in np.linspace(0, len(regions) - 1, _CHECKED)}):
        try:
            pixels = torch.from_numpy(image.read(regions[place]))
        except UnreadableImageError:
            continue
        if len(regions) != len(gray.checksums) or _checksum(pixels) != gray.checksums[place]:
            raise ImageError(
                image.path,
                f"its part {image.told(regions[place])} has other pixels, or other chunks, than when the job began: "
                "use that image again, choose another output_dir, or remove the result to begin again",
            )


def _checksum(pixels: torch.Tensor) -> int:
    return zlib.crc32(pixels.numpy().tobytes())


class StandardizedImage:
    """Windows of an image as the network sees them: selected channels, standardised, mirrored beyond its border.

    Args:
        image: to be read.
        channels: that are selected of it.
        gray: as :func:`measure` found them.
        context_slices: neighbours that a slice is shown with, on each side, as further channels.
    """

    def __init__(self, image: LazyImage, channels: Channels, gray: GrayValues, context_slices: int = 0) -> None:
        self.image = image
        self.channels = channels
        self.gray = gray
        self.context_slices = context_slices

    def window(self, spans: tuple[tuple[int, int], ...], index: int | None = None) -> torch.Tensor:
        """The pixels between (start, stop) along every axis; positions beyond the image are mirrored.

        Args:
            spans: along x, y[, z].
            index: of a stack of slices, the one that is meant; ``spans`` are then along x and y.

        Returns:
            1CHW[D] fp32.
        """
        if index is None:
            return self._one(spans, None)
        shown = neighbours(index, self.image.size[2], self.context_slices)
        return torch.cat([self._one(spans, each) for each in shown], dim=1)

    def _one(self, spans: tuple[tuple[int, int], ...], index: int | None) -> torch.Tensor:
        size = self.image.size[: len(spans)]
        places = [mirror_indices(start, stop, n) for (start, stop), n in zip(spans, size, strict=True)]
        inner = tuple((min(along), max(along) + 1) for along in places)
        pixels = self.image.read(inner if index is None else (*inner, (index, index + 1)))
        picked = self.channels.pick(torch.from_numpy(pixels if index is None else pixels[..., 0]), self.gray.equal)
        edges = None if self.gray.edges is None else self.gray.edges[index or 0]
        ready = standardized_part(picked, self.gray.moments[index or 0], edges)
        for axis, (along, (start, stop)) in enumerate(zip(places, inner, strict=True), start=1):
            if along != list(range(start, stop)):
                ready = ready.index_select(axis, torch.from_numpy(np.asarray(along) - start))
        return ready[None].contiguous()

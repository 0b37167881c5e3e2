"""Reading an image at moved positions: one sampling for shift, rotation, mirroring and deformation together.

A window of the image is read at ``centre + matrix @ (o + displacement(o))``, o being the pixel's position from
the middle of the window: the image is mapped by the affine part first, then deformed. Positions outside the
image are mirrored without repeating the edge, however far outside they are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from monai.config import NdarrayOrTensor
from monai.utils import convert_to_dst_type, convert_to_tensor

MODES = ("nearest", "bilinear", "bicubic")


def check_mode(mode: str, spatial_dims: int | None = None) -> None:
    """Check an interpolation mode.

    Raises:
        ValueError: unknown mode, or "bicubic" in 3D.
    """
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
    if mode == "bicubic" and spatial_dims == 3:
        raise ValueError("mode 'bicubic' is for 2D images only, use 'bilinear' (trilinear) for 3D")


def take(image: NdarrayOrTensor, indices: np.ndarray, axis: int) -> NdarrayOrTensor:
    """Entries of ``image`` at ``indices`` along ``axis``; any dtype, values untouched, kind and meta kept."""
    if isinstance(image, np.ndarray):
        return np.take(image, indices, axis)
    return torch.index_select(image, axis, torch.as_tensor(indices, device=image.device))


def _mirrored(positions: np.ndarray, n: int) -> np.ndarray:
    """Whole-number positions (float) brought into an axis of ``n`` px, as bundle.geometry.mirror_indices does.

    In closed form, because a table read once a pixel takes longer than the whole of the interpolation.
    """
    if n == 1:
        return np.zeros_like(positions)
    period = 2 * (n - 1)
    forward = positions - period * np.floor(positions / period)
    return np.asarray(np.minimum(forward, period - forward))


@dataclass
class Sampling:
    """Where in an image every pixel of a window is read. Computed once, then applied to image, label, weight.

    Attributes:
        image_size: spatial size of the image in px.
        window_size: spatial size of the window in px.
        centre: (d,) position in the image, in px, of the middle of the window.
        matrix: (d, d) affine map from the window's axes to the image's.
        displacement: (d, H, W[, D]) float32 in px along the window's axes; None where nothing is deformed.
    """

    image_size: tuple[int, ...]
    window_size: tuple[int, ...]
    centre: np.ndarray
    matrix: np.ndarray
    displacement: np.ndarray | None = None

    def read(self, image: NdarrayOrTensor, mode: str) -> NdarrayOrTensor:
        """The window of an image.

        Args:
            image: CHW[D], any numeric dtype, of spatial size ``image_size``.
            mode: "nearest" keeps values and dtype exactly; "bilinear" (trilinear in 3D) and "bicubic" (2D)
                give float32.

        Returns:
            CHW[D] of spatial size ``window_size``, of the same kind (numpy, torch, MetaTensor) as ``image``.

        Raises:
            ValueError: unknown mode, or an image of another size than ``image_size``.
        """
        check_mode(mode, len(self.image_size))
        if tuple(image.shape[1:]) != self.image_size:
            raise ValueError(
                f"this window was drawn for an image of {self.image_size} px, got {tuple(image.shape[1:])} px"
            )
        if self._lattice is not None:
            return self._read_lattice(image, self._lattice, np.float32 if mode != "nearest" else None)
        if mode == "nearest":
            return self._read_nearest(image)
        source = convert_to_tensor(image, dtype=torch.float32, track_meta=False)
        # where the grid is mirrored already, bilinear reading never looks beyond the edge, and need not ask
        padding = "border" if self._compiles and mode == "bilinear" else "reflection"
        window = torch.nn.functional.grid_sample(
            source[None], self._grid.to(source.device), mode, padding_mode=padding, align_corners=True
        )
        return convert_to_dst_type(window[0], image, dtype=np.float32)[0]

    def _read_nearest(self, image: NdarrayOrTensor) -> NdarrayOrTensor:
        # a channel at a time: along a single axis torch gathers five times as fast
        if isinstance(image, np.ndarray):
            return np.stack([np.take(channel, self._nearest) for channel in image]).reshape(-1, *self.window_size)
        index = torch.as_tensor(self._nearest, device=image.device)
        channels = image.reshape(image.shape[0], -1)
        unsigned = image.dtype in (torch.uint16, torch.uint32, torch.uint64)  # index_select knows none of them
        gathered = [channel[index] if unsigned else channel.index_select(0, index) for channel in channels]
        return (torch.stack(gathered) if len(gathered) > 1 else gathered[0]).reshape(-1, *self.window_size)

    @cached_property
    def positions(self) -> np.ndarray:
        """(d, H, W[, D]) float32: where in the image every pixel of the window is read, in px, not mirrored."""
        along = [np.arange(n, dtype=np.float32) - np.float32((n - 1) / 2) for n in self.window_size]
        offsets = np.stack(np.meshgrid(*along, indexing="ij", copy=False))
        if self.displacement is not None:
            offsets += self.displacement
        # torch for the product: see transforms.geometry.displacement.separable_field
        matrix, centre = (torch.from_numpy(part.astype(np.float32)) for part in (self.matrix, self.centre))
        moved = torch.addmm(centre[:, None], matrix, torch.from_numpy(offsets.reshape(len(offsets), -1)))
        return moved.numpy().reshape(offsets.shape)

    @cached_property
    def _grid(self) -> torch.Tensor:
        """Positions as torch's grid_sample takes them: (1, H, W[, D], d), last axis first, -1..1 at the edges.

        Mirrored where compiled.
        """
        if self._compiles:
            from transforms.geometry.warp_compiled import normalised_grid

            return torch.from_numpy(normalised_grid(*self._single_precision))[None]
        dims = len(self.window_size)
        grid = np.empty((1, *self.window_size, dims), np.float32)
        for axis, n in enumerate(self.image_size):
            np.multiply(self.positions[axis], np.float32(2 / max(n - 1, 1)), out=grid[0, ..., dims - 1 - axis])
        grid -= 1
        return torch.from_numpy(grid)

    @cached_property
    def _nearest(self) -> np.ndarray:
        """Index of the nearest pixel in the flattened image, one for every pixel of the window."""
        if self._compiles:
            from transforms.geometry.warp_compiled import nearest_index

            return nearest_index(*self._single_precision).ravel()
        index = np.zeros(self.window_size, np.int64)
        for axis, n in enumerate(self.image_size):
            index *= n
            index += _mirrored(np.rint(self.positions[axis]), n).astype(np.int64)
        return index.ravel()

    @property
    def _compiles(self) -> bool:
        """Whether the compiled loops take these sizes; what they cannot take, rare or 3D, numpy does."""
        return len(self.image_size) == 2 and min(self.image_size) > 1 and math.prod(self.image_size) < 2**31

    @property
    def _single_precision(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[int, ...]]:
        displacement = self.displacement
        if displacement is None:
            displacement = np.zeros((len(self.window_size), *self.window_size))
        arrays = (np.ascontiguousarray(array, dtype=np.float32) for array in (displacement, self.matrix, self.centre))
        return (*arrays, self.image_size)  # type: ignore[return-value]

    @cached_property
    def _lattice(self) -> list[tuple[int, np.ndarray]] | None:
        """For every axis of the window its axis and indices in the image, when pixels fall on pixels exactly.

        That is so for shifts, flips and quarter turns: they need no interpolation and must not lose a bit to it.
        """
        turn = np.rint(self.matrix)
        dims = len(self.window_size)
        if self.displacement is not None or not np.allclose(self.matrix, turn, rtol=0, atol=1e-12):
            return None
        if not np.array_equal(turn @ turn.T, np.eye(dims)):
            return None
        lattice = []
        for axis, n in enumerate(self.window_size):
            source = int(np.flatnonzero(turn[:, axis])[0])
            along = self.centre[source] + turn[source, axis] * (np.arange(n) - (n - 1) / 2)
            whole = np.rint(along)
            if not np.allclose(along, whole, rtol=0, atol=1e-6):
                return None
            lattice.append((source, _mirrored(whole, self.image_size[source]).astype(np.int64)))
        return lattice

    @staticmethod
    def _read_lattice(
        image: NdarrayOrTensor, lattice: list[tuple[int, np.ndarray]], dtype: type | None
    ) -> NdarrayOrTensor:
        window = image
        for source, indices in lattice:
            window = take(window, indices, source + 1)
        order = [0, *(source + 1 for source, _ in lattice)]
        if isinstance(window, np.ndarray):
            window = np.ascontiguousarray(window.transpose(order))
        else:
            window = window.permute(order).contiguous()
        return convert_to_dst_type(window, image, dtype=dtype)[0]

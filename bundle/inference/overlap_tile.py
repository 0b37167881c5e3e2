"""Seam-free overlap-tile inference for networks with valid convolutions.

MONAI's sliding windows take an output smaller than its input for a zoomed one, blend windows that disagree, and
pad with a constant. Here tiles step on the network's pooling grid and see true context, mirrored at the border,
so that any tiling gives the same map as one pass over the whole mirrored image. A network with padded convolutions
cannot have that: it gets the whole image at once, or an error.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from monai.utils import convert_to_dst_type
from torch import nn
from tqdm import tqdm

from bundle.geometry import Geometry, Tile, TilePlan, Turn, geometry_of
from bundle.inference.backends import BackendNetwork
from bundle.inference.cheapest_tile import cheapest_tile, operations
from bundle.inference.cutting import cut, inside, said_of_thin
from bundle.inference.precision import autocast, resolve_precision
from bundle.inference.probability import class_probability
from bundle.inference.tile_cost import TileCost, free_memory, parse_bytes
from bundle.inference.tta import averaged, members, require_tta, turned_plane

logger = logging.getLogger(__name__)

#: bytes that tiles take at most on a CPU where no bound is given: larger ones gain little
_ENOUGH = 3 * 2**30
#: counted activations -> what a convolution library really takes beside them (re-ordered copies, scratch space)
_HEADROOM = 1.3
#: how much more a tile may compute that needs no preparation: images of nearly one size share theirs
_NEAR = 1.1


class OverlapTileInferer(Inferer):
    """The overlap-tile strategy of the U-Net paper (fig. 2) without its seams.

    For every tile size the result equals one pass over the whole mirrored image, up to floating point rounding:
    tiles are shifted by multiples of the network's pooling step from one common origin, whereas stepping by the
    tile's output (388, as the 2015 release did) would move the pooling grid from tile to tile.

    A padded network (``geometry.seamless`` is False) runs over the whole image in one tile: mirrored beyond its end up
    to the next valid size, and the surplus cut off. A larger ``tile_size`` mirrors further.

    Args:
        tile_size: input size of a tile in px, one for all axes or one an axis; None picks the cheapest that
            ``max_memory`` admits: every tile pays for its margin, so fewer and larger ones compute less.
        max_memory: bound on what inference may allocate beside the network's weights, the image and, with
            ``probability_of``, the probability, in bytes or as text ("1.5 GiB"); None takes half of what is free on the
            device when called, and of a CPU's no more than 3 GiB where that is enough.
        tta: test-time augmentation, the mean of the logits over "none"; "d4", the eight rotations and mirrorings of the
            first two spatial axes of equal ``spacing`` that the network treats alike; or "paper7", seven of them (all
            but one mirrored quarter turn).
        geometry: sizes of the network; None takes ``network.geometry``.
        stack_axis: spatial axis along which an image with one axis more than the network is a stack of slices,
            each segmented alone (-1, the last, is how MONAI reads TIFF stacks and volumes); None refuses these.
        precision: "fp32" (what the network is in), "bf16", "int8" or "auto", see :mod:`bundle.inference.precision`.
        progress: show a progress bar over the tiles, on a terminal and where there are several.
        probability_of: None gives logits; a channel gives its probability alone, the softmax over all; "all" gives
            those of all. Without ``tta`` it is taken tile by tile, and no logits of the whole image are kept.
        spacing: between pixels along each axis, in any unit; None: alike.

    Attributes:
        on_tile: called before each tile with the number of those done and of all; what it raises ends the inference.

    Raises:
        ValueError: for arguments outside what is allowed.

    Examples:
        >>> from bundle.networks import UNet
        >>> network = UNet(spatial_dims=2, in_channels=1, out_channels=2, base_channels=4, depth=2).eval()
        >>> OverlapTileInferer(tile_size=64)(torch.rand(1, 1, 50, 70), network).shape
        torch.Size([1, 2, 50, 70])
    """

    def __init__(
        self,
        tile_size: int | Sequence[int] | None = None,
        max_memory: float | str | None = None,
        tta: str = "none",
        geometry: Geometry | None = None,
        stack_axis: int | None = None,
        precision: str = "fp32",
        progress: bool = False,
        probability_of: int | str | None = None,
        spacing: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        require_tta(tta)
        resolve_precision(precision, "cpu")
        for size in tile_size if isinstance(tile_size, (list, tuple)) else (tile_size,):
            if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
                raise ValueError(f"tile_size must be a number of px, at least 1, or one an axis, got {tile_size!r}")
        self.tile_size = tile_size
        self.max_memory = None if max_memory is None else parse_bytes(max_memory)
        self.tta = tta
        self.geometry = geometry
        self.stack_axis = stack_axis
        self.precision = precision
        self.progress = progress
        self.probability_of = probability_of
        self.spacing = spacing
        self.on_tile: Callable[[int, int], None] | None = None
        self._costs: dict[Any, TileCost] = {}
        self._mentioned = False

    @torch.no_grad()
    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Segment a batch of whole images.

        Args:
            inputs: BCHW[D], any spatial size from 1 px on; with ``stack_axis`` also one axis more.
            network: maps a tile to logits smaller by ``2 * geometry.margin``; in evaluation mode.
            args: further positional arguments of the network.
            kwargs: further keyword arguments of the network.

        Returns:
            BNHW[D] logits (or probabilities, B1HW[D] of one channel) of exactly the input's spatial size, fp32 or
            better; a MetaTensor keeps its metadata.

        Raises:
            ValueError: for an image of other dimensions than the network's, a tile size that is not valid or, for a
                padded network, smaller than the image, or an output that does not fit the geometry.
            MemoryError: when not even the smallest tile fits ``max_memory``; for a padded network, the whole image.
        """
        geometry = self.geometry or geometry_of(network)
        image = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        axes = getattr(network, "spatial_dims", None)
        spatial = image.dim() - 2
        run = self.runner(network, image.device, *args, **kwargs)

        def segment(images: torch.Tensor) -> torch.Tensor:
            plane = self._plane(geometry, images.dim() - 2)
            whole = averaged(images, lambda turned: self._tiles(turned, network, run, geometry), self.tta, plane)
            return whole if self.tta == "none" else self.read(whole)

        if axes is not None and spatial == axes + 1 and self.stack_axis is not None:
            axis = range(2, image.dim())[self.stack_axis]
            slices = image.movedim(axis, 1)  # a stack is a batch of slices
            logits = segment(slices.flatten(0, 1))
            logits = logits.unflatten(0, slices.shape[:2]).movedim(1, axis)
        elif spatial < 1 or (axes is not None and spatial != axes):
            hint = "; a stack of slices needs stack_axis" if axes is not None and spatial == axes + 1 else ""
            raise ValueError(
                f"inputs have {spatial} spatial axes {tuple(image.shape)}, the network works on {axes}{hint}"
            )
        else:
            logits = segment(image)
        return convert_to_dst_type(logits, inputs, dtype=logits.dtype)[0] if image is not inputs else logits

    def runner(
        self, network: Callable[..., torch.Tensor], device: torch.device, *args: Any, **kwargs: Any
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        """What maps a tile, BCHW[D], to what is kept of its output: logits, or what ``probability_of`` says."""
        precision = resolve_precision(self.precision, device, network)

        @torch.no_grad()
        def run(tile: torch.Tensor) -> torch.Tensor:
            with autocast(precision, tile.device):
                logits = network(tile, *args, **kwargs)
            logits = logits if logits.dtype == torch.float64 else logits.float()
            return self.read(logits) if self.tta == "none" else logits

        return run

    def choose_tile(
        self,
        image_size: Sequence[int],
        channels: int,
        network: Callable[..., Any],
        device: torch.device | str = "cpu",
        images: int = 1,
        prepared: Sequence[int] | None = None,
    ) -> tuple[int, ...]:
        """The tile size of the fewest FLOPs that covers an image within the memory bound.

        Args:
            image_size: spatial size in px.
            channels: of the image.
            network: its costs are counted, see :class:`bundle.inference.tile_cost.TileCost`.
            device: on which it runs.
            images: batch size, or slices of a stack: their logits are all kept.
            prepared: a tile that the network's backend is ready for; it is taken where such tiles cover the image, fit
                the bound and compute at most a tenth more.

        Raises:
            MemoryError: when no tile fits; the message names the bound and what the smallest one needs.
        """
        geometry = self.geometry or geometry_of(network)
        cost = self._cost(network, geometry, channels, len(image_size), device)
        bound = self.max_memory if self.max_memory is not None else free_memory(device) / 2
        enough = _ENOUGH if self.max_memory is None and torch.device(device).type == "cpu" else bound

        def memory(tile: tuple[int, ...]) -> float:
            # fp32 logits of all images; averaging holds the sum, the turned ones and those turned back
            maps = images * (3 if self.tta != "none" else 1 if self.probability_of is None else 0)
            whole = 4 * maps * cost.out_channels * torch.Size(image_size).numel()
            return self.tile_memory(tile, channels, network, device) + whole

        tile, smallest = cheapest_tile(cost, image_size, memory, sorted({min(enough, bound), bound}))
        if tile is None:
            reason = "" if geometry.seamless else "; a padded network cannot be tiled without seams"
            raise MemoryError(
                f"max_memory {bound / 2**20:.0f} MiB is not enough for an image of {tuple(image_size)} px: the "
                f"smallest tile, {smallest}, needs {memory(smallest) / 2**20:.0f} MiB{reason}"
            )
        if prepared is None or not geometry.seamless or tile == (kept := tuple(prepared)):
            return tile
        near = operations(cost, image_size, kept) <= _NEAR * operations(cost, image_size, tile)
        return kept if near and memory(kept) <= bound else tile

    def tile_memory(
        self, tile: Sequence[int], channels: int, network: Callable[..., Any], device: torch.device | str = "cpu"
    ) -> float:
        """Bytes that one tile takes, about; see :meth:`choose_tile` for the arguments."""
        geometry = self.geometry or geometry_of(network)
        counted = self._cost(network, geometry, channels, len(tile), device).memory(tile)
        if not isinstance(network, BackendNetwork):
            return _HEADROOM * counted
        turned = self.tta != "none" and len({tile[axis] for axis in self._plane(geometry, len(tile))}) > 1
        return network.peak_memory(counted, shapes=2 if turned else 1)

    def __getstate__(self) -> dict[str, Any]:
        """Without what was counted: another process counts by itself."""
        return {**self.__dict__, "_costs": {}}

    def turns(self, geometry: Geometry, plan: TilePlan) -> list[tuple[Turn, TilePlan]]:
        """How an image is turned each time, and the tiles of the turned one, given those of the image itself."""
        plane = self._plane(geometry, len(plan.image_size))
        turns = members(self.tta, plane)
        return [(turn, geometry.plan(turn.size(plan.image_size), plan.tile_size)) for turn in turns]

    def _plane(self, geometry: Geometry, axes: int) -> tuple[int, int]:
        return (0, 1) if self.tta == "none" else turned_plane(geometry, axes, self.spacing)

    def read(self, logits: torch.Tensor) -> torch.Tensor:
        """What ``probability_of`` says of logits, BNHW[D]."""
        return logits if self.probability_of is None else class_probability(logits, self.probability_of)

    def _cost(self, network: Callable[..., Any], geometry: Geometry, channels: int, axes: int, device: Any) -> TileCost:
        # of int8, inputs of 8 bits and sums of 32 are there at a time: no more than those of 16 on the whole
        half = resolve_precision(self.precision, device, network) in ("bf16", "int8")
        weights = network.parameters() if isinstance(network, nn.Module) else iter(())
        dtype = torch.bfloat16 if half else next(weights, torch.empty(0)).dtype
        key = (id(network), geometry, channels, axes, dtype)
        if key not in self._costs:
            self._costs = {key: TileCost(network, geometry, channels, axes, dtype)}
        return self._costs[key]

    def _tiles(
        self,
        image: torch.Tensor,
        network: Callable[..., Any],
        run: Callable[[torch.Tensor], torch.Tensor],
        geometry: Geometry,
    ) -> torch.Tensor:
        size = tuple(image.shape[2:])
        tile_size = self.tile_size
        if tile_size is None:
            shapes = network.prepared_sizes if isinstance(network, BackendNetwork) else []
            prepared = next((shape for shape in shapes if len(shape) == len(size)), None)
            tile_size = self.choose_tile(size, image.shape[1], network, image.device, image.shape[0], prepared)
        plan = geometry.plan(size, tile_size)
        if not self._mentioned and (thin := said_of_thin(size, geometry.margins(len(size)))):
            self._mentioned = True
            logger.warning(thin)
        output: torch.Tensor | None = None
        for batch, tile in self._walk(plan, image.shape[0]):
            logits = run(cut(image[batch : batch + 1], tile.input))
            expected = geometry.output_sizes(plan.tile_size)
            if tuple(logits.shape[2:]) != expected:
                raise ValueError(
                    f"the network returned {tuple(logits.shape[2:])} px for a tile of {plan.tile_size}, but {geometry} "
                    f"says {expected}: is that another network's geometry, or another padding's?"
                )
            if output is None:
                output = logits.new_empty((image.shape[0], logits.shape[1], *size))
            inside(output[batch], tile.output).copy_(inside(logits[0], tile.crop))
        assert output is not None  # a plan has at least one tile
        return output

    def _walk(self, plan: TilePlan, batch_size: int) -> Iterator[tuple[int, Tile]]:
        pairs = ((batch, tile) for batch in range(batch_size) for tile in plan)
        total = batch_size * len(plan)
        # disable=None: no bar where there is no terminal
        hidden = None if self.progress and total > 1 else True
        for number, pair in enumerate(tqdm(pairs, total=total, desc="tiles", unit="tile", disable=hidden)):
            if self.on_tile is not None:
                self.on_tile(number, total)
            yield pair

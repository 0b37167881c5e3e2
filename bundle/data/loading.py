"""The first transform of every pipeline: a file, or one slice of a stack, into a checked image or label map."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import IterableDataset, MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils import MetaKeys, TransformBackends
from torch.utils.data import get_worker_info

from bundle.data.axes import require_same_axes
from bundle.data.errors import ImageError, UnreadableImageError, image_error, shortage
from bundle.data.formats import PLANAR, extension
from bundle.data.gray import as_shown, warn_of_extremes
from bundle.data.item import Item
from bundle.data.readers import read_image
from transforms.labels.instances import IGNORE

__all__ = ["ImageError", "LoadSlice", "LoadSliced", "ReadableItems", "UnreadableImageError"]

_LOG = logging.getLogger(__name__)
#: ITU-R BT.601, as "L" in most programs
_LUMINANCE = (0.299, 0.587, 0.114)
_RGB = ("refuse", "luminance")
#: extensions of formats that change pixels
_LOSSY = (".jpg", ".jpeg")
#: read as; float64 holds every label number exactly
_IMAGE, _LABEL = np.dtype(np.float32), np.dtype(np.float64)


class LoadSlice(Transform):
    """Read an image or a label map, or one slice of a stack, and check its pixels.

    Axes come in MONAI's order: (x, y), the transpose of what numpy-based programs show, for every format alike.

    Args:
        label: read a label map (int32, one channel) instead of an image (float32).
        channels: channels the network takes. 1: gray; a colour file whose red, green and blue are equal is gray
            too. A fourth, opacity, channel is dropped.
        rgb: what to do with true colours where 1 channel is wanted: "refuse" or "luminance" (0.299 R + 0.587 G
            + 0.114 B).
        spatial_dims: axes the network takes, 2 or 3; None takes what comes.

    Raises:
        ValueError: for another ``rgb``, ``channels`` or ``spatial_dims``.
    """

    backend = [TransformBackends.TORCH]  # noqa: RUF012 - MONAI's convention

    def __init__(
        self, label: bool = False, channels: int = 1, rgb: str = "refuse", spatial_dims: int | None = 2
    ) -> None:
        if rgb not in _RGB:
            raise ValueError(f"rgb must be refuse or luminance (makes colours gray), got {rgb!r}: give --rgb luminance")
        if isinstance(channels, bool) or not isinstance(channels, int) or channels < 1:
            raise ValueError(f"channels must be an integer of at least 1 (1 is the nearest), got {channels!r}")
        if spatial_dims not in (None, 2, 3):
            raise ValueError(f"spatial_dims must be 2, 3 or None, got {spatial_dims!r}")
        self.label = label
        self.channels = 1 if label else channels
        self.rgb = rgb
        self.spatial_dims = spatial_dims

    def __call__(self, path: str, index: int | None = None) -> MetaTensor:
        """Read.

        Args:
            path: image file.
            index: page of a stack, or position along the last axis of a volume, from 0; None: the whole file.

        Returns:
            shape (C, x, y) or (C, x, y, slices), float32 or, for labels, int32. ``meta`` has MONAI's affine, moved
            to the slice; ``patch_index`` is the slice, so that ``SaveImage`` names the results of a stack apart.

        Raises:
            UnreadableImageError: for a file that is missing, empty, truncated or no image.
            ImageError: for a shape or number of channels that does not fit, pixels that are not finite, labels
                that are no integers.
        """
        path = str(path)
        stored = read_image(path, _LABEL if self.label else _IMAGE, keep=index is not None)
        array = self._spatial(path, stored if index is None else _take(path, stored, index))
        array = cast(MetaTensor, self._channels(path, array))
        if self.label and extension(path) in _LOSSY:
            _refuse_lossy(path, array)
        # MetaTensor all the way: indexing and arithmetic keep its type, which torch's annotations do not know
        # of labels, the numbers count: white as 0 or not
        return cast(MetaTensor, self._integers(path, array) if self.label else as_shown(path, _finite(path, array)))

    def _spatial(self, path: str, array: torch.Tensor) -> torch.Tensor:
        """Drop trailing axes of one slice (NIfTI keeps them), then insist on the number of axes."""
        wanted = self.spatial_dims
        if wanted is None:
            return array
        while array.ndim - 1 > wanted and array.shape[-1] == 1:
            array = array[..., 0]
        if array.ndim - 1 == wanted:
            return array
        shape = tuple(array.shape[1:])
        if wanted == 2 and len(shape) == 3:
            raise ImageError(
                path,
                f"it is a stack of shape {shape} (x, y, slices) where a 2D image is expected; give its item a "
                f'"slice" from 0 to {shape[-1] - 1}, as bundle.data.datalist does, or set spatial_dims to 3',
            )
        raise ImageError(path, f"its shape is {shape}, {len(shape)} axes where spatial_dims asks for {wanted}")

    def _channels(self, path: str, array: torch.Tensor) -> torch.Tensor:
        found = array.shape[0]
        if found == 4 and self.channels != 4 and extension(path) in PLANAR:  # TiffReader knows opacity when it sees it
            array, found = array[:3], 3
        if found == self.channels:
            return array
        if found == 3 and self.channels == 1:
            if bool((array[0] == array[1]).all()) and bool((array[0] == array[2]).all()):
                return array[:1]
            if self.label:
                raise ImageError(path, "it is a colour picture, a label map has one channel of cell numbers")
            if self.rgb == "luminance":
                weights = array.new_tensor(_LUMINANCE).reshape(3, *[1] * (array.ndim - 1))
                return (array * weights).sum(0, keepdim=True)
            raise ImageError(
                path,
                "it has 3 channels, the network expects 1: convert it, or add --rgb luminance (rgb='luminance'); if "
                "they are three slices, save them as such (tifffile: photometric='minisblack')",
            )
        raise ImageError(
            path,
            f"it has {found} channels, {self.channels} expected: save the one to use in a file of its own (Fiji: "
            "Image > Color > Split Channels); --rgb luminance is for red, green and blue alone",
        )

    def _integers(self, path: str, array: torch.Tensor) -> torch.Tensor:
        labels = array.to(torch.int32)
        wrong = torch.as_tensor(labels != array)
        if bool(wrong.any()):
            where = _first(wrong)
            raise ImageError(
                path,
                f"a label map holds whole numbers below 2^31, but {int(wrong.sum())} of its pixels do not, first "
                f"{float(array[where]):g} at {where} (channel, x, y)",
            )
        if int(labels.min()) < IGNORE:
            raise ImageError(
                path, f"its smallest label is {int(labels.min())}; allowed are {IGNORE} (not annotated), 0, 1, 2, ..."
            )
        return labels


def _refuse_lossy(path: str, labels: torch.Tensor) -> None:
    """Compression invents numbers around every edge, each of which would count as a cell."""
    count = len(torch.unique(labels))
    if count > 2:
        raise ImageError(
            path,
            f"JPEG has changed its label numbers, there are {count} of them now; save labels as PNG or TIFF (a black "
            "and white mask is rescued by a threshold at half of its maximum)",
        )


class LoadSliced(MapTransform):
    """Dictionary form of :class:`LoadSlice`: the paths under ``keys`` become arrays.

    An item may be only ``{"image": path}`` or ``{"image": path, "label": path}``, as MONAI Label feeds it; a
    ``"slice"`` in it is taken from each of its files.

    Args:
        keys: of the paths.
        label_keys: those of them that are label maps.
        channels, rgb, spatial_dims: see :class:`LoadSlice`.
        allow_missing_keys: for items without a label.

    Raises:
        ImageError: besides what :class:`LoadSlice` raises, when the files of one item differ in size, or in the
            directions of their axes where both have a format that tells them (NIfTI, MHA).
    """

    backend = LoadSlice.backend

    def __init__(
        self,
        keys: KeysCollection,
        label_keys: KeysCollection = ("label",),
        channels: int = 1,
        rgb: str = "refuse",
        spatial_dims: int | None = 2,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.label_keys = (label_keys,) if isinstance(label_keys, str) else tuple(label_keys)  # type: ignore[arg-type]
        self.load_image = LoadSlice(False, channels, rgb, spatial_dims)
        self.load_label = LoadSlice(True, channels, rgb, spatial_dims)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        first: Hashable = None
        for key in self.key_iterator(item):
            load = self.load_label if key in self.label_keys else self.load_image
            item[key] = load(item[key], item.get("slice"))
            first = key if first is None else first
            if item[key].shape[1:] != item[first].shape[1:]:
                sizes = " and ".join(f"{k} {tuple(item[k].shape[1:])}" for k in (first, key))
                raise ImageError(data[key], f"the sizes (x, y) of one item differ: {sizes} of {data[first]}")
            if key != first:
                require_same_axes(str(data[first]), item[first], str(data[key]), item[key])
        return item


class ReadableItems(IterableDataset):
    """The items of a datalist, transformed; files that cannot be used are noted and skipped.

    For inference over a folder: one broken file must cost neither the others nor its mention at the end, nor must two
    files of one name, whose results would replace each other. Only :class:`ImageError` is skipped; a defect of a
    transform still stops.

    Args:
        data: datalist.
        transform: applied to each item, usually a ``Compose`` that begins with :class:`LoadSliced`.

    Attributes:
        failed: (path, reason) of every file skipped in the current or last pass.
    """

    def __init__(self, data: Sequence[Item], transform: Any) -> None:
        super().__init__(data, transform)
        self.failed: list[tuple[str, str]] = []
        self._position: int | None = None

    def __iter__(self) -> Iterator[Any]:
        if get_worker_info() is not None:
            raise ValueError("ReadableItems notes failures in this process: set num_workers to 0")
        self.failed = []
        of_name: dict[str, set[str]] = {}
        for item in self.data:
            of_name.setdefault(item.get("name", item["image"]), set()).add(item["image"])
        for position, item in enumerate(self.data):
            self._position = position
            try:
                _require_own_name(item["image"], of_name[item.get("name", item["image"])])
                transformed = [self.transform(item)]  # type: ignore[misc]
            except Exception as error:
                broken = image_error(error)
                if broken is None:
                    raise
                _LOG.error("skipped %s", broken)
                self.failed.append((broken.path, broken.reason))
                continue
            yield transformed.pop()  # kept here, it would take memory for as long as it is in use

    def finish(self, work: Callable[[], object]) -> None:
        """Do what goes through all items once, and say at the end what is not done.

        Raises:
            RuntimeError: naming every skipped file; for a full disk or too little memory, the image that it
                happened to and those that were left.
        """
        self._position = None
        try:
            work()
        except Exception as error:
            reason = shortage(error)
            if reason is None or self._position is None:
                raise
            _LOG.debug("stopped", exc_info=error)
            path, *left = [item["image"] for item in list(self.data)[self._position :]]
            rest = f"and {len(left)} left of {len(list(self.data))} ({', '.join(left)}) " if left else ""
            skipped = f"; skipped before: {self._skipped()}" if self.failed else ""
            raise RuntimeError(
                f"stopped at {path}: {reason}. It {rest}{'are' if left else 'is'} not done, the results before it are "
                f"complete{skipped}"
            ) from None
        if self.failed:
            count = f"{len(self.failed)} of {len(list(self.data))}"
            raise RuntimeError(f"{count} images could not be used: {self._skipped()}")

    def _skipped(self) -> str:
        return "; ".join(f"{path} ({reason})" for path, reason in self.failed)


def _require_own_name(path: str, of_name: set[str]) -> None:
    if len(of_name) > 1:
        others = " and ".join(sorted(of_name - {path}))
        raise ImageError(path, f"its results would have the same name as those of {others}: rename one")


def _take(path: str, array: MetaTensor, index: int) -> MetaTensor:
    """One slice of (C, x, y, slices), with its affine moved there."""
    count = array.shape[-1] if array.ndim == 4 else 1
    if not 0 <= index < count:
        raise ImageError(path, f"it has no slice {index}: its slices are 0 to {count - 1}")
    if array.ndim < 4:
        whole: MetaTensor = array.clone()
        return whole
    part = MetaTensor(array.as_tensor()[..., index].clone(), meta=dict(array.meta))
    affine = array.affine.clone()
    affine[:3, 3] += index * affine[:3, 2]
    part.affine = affine
    part.meta[MetaKeys.SPATIAL_SHAPE] = np.array(part.shape[1:])
    part.meta["patch_index"] = index
    return part


def _finite(path: str, image: MetaTensor) -> MetaTensor:
    bad = ~torch.isfinite(image)
    if bool(bad.any()):
        raise ImageError(
            path, f"{int(bad.sum())} of its pixels are NaN or infinite, first at {_first(bad)} (channel, x, y)"
        )
    if float(image.min()) == float(image.max()):
        _LOG.warning("%s: all its pixels are %g", path, float(image.min()))
    warn_of_extremes(path, image)
    return image


def _first(mask: torch.Tensor) -> tuple[int, ...]:
    return tuple(int(i) for i in torch.nonzero(mask)[0])

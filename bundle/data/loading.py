"""The first transform of every pipeline: the files of an item, or one slice of each, into checked arrays."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from bundle.data.channels import Channels
from bundle.data.context import CONTEXT
from bundle.data.errors import ImageError
from bundle.data.formats import META_IMAGE, NIFTI, extension, spatial_shape
from bundle.data.item import Part, part_of
from bundle.data.load_slice import LoadSlice
from bundle.data.regions import is_region_file, load_regions

logger = logging.getLogger(__name__)


class LoadSliced(MapTransform):
    """Dictionary form of :class:`LoadSlice`: the paths under ``keys`` become arrays.

    An item may be only ``{"image": path}`` or ``{"image": path, "label": path}``, as MONAI Label feeds it; a
    ``"slice"``, or range of ``"slices"``, in it is taken from each of its files. A "context"
    (:class:`bundle.data.context.FindContextd`) is taken out of the item: its slices' channels stand around the image's.

    Args:
        keys: of the paths.
        label_keys: those of them that are label maps, or files of regions (:mod:`bundle.data.regions`); these stand
            behind the image whose size they have.
        channels, spatial_dims, roi, label_colours: see :class:`LoadSlice`.
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
        channels: Channels | str | Sequence[int] = "all",
        spatial_dims: int | None = 2,
        allow_missing_keys: bool = False,
        roi: str | Sequence[int] | None = None,
        label_colours: str | None = None,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.label_keys = (label_keys,) if isinstance(label_keys, str) else tuple(label_keys)  # type: ignore[arg-type]
        self.load_image = LoadSlice(False, channels, spatial_dims, roi)
        self.load_label = LoadSlice(True, spatial_dims=spatial_dims, roi=roi, label_colours=label_colours)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        context = item.pop("context", None)
        first: Hashable = None
        for key in self.key_iterator(item):
            load = self.load_label if key in self.label_keys else self.load_image
            if load is self.load_label and is_region_file(item[key]):
                item[key] = self._load_regions(item[key], data.get(first), item.get(first), part_of(item))
            else:
                item[key] = load(item[key], part_of(item))
            if context is not None and load is self.load_image:
                item[key] = self._with_neighbours(item[key], *context)
            first = key if first is None else first
            if item[key].shape[1:] != item[first].shape[1:]:
                sizes = " and ".join(f"{k} {tuple(item[k].shape[1:])}" for k in (first, key))
                turned = item[key].shape[:0:-1] == item[first].shape[1:]
                advice = "they fit when x and y are exchanged" if turned else "save both with the same size"
                told = f"{key} and {first} must have one size (x, y), got {sizes} of {data[first]}; {advice}"
                raise ImageError(data[key], told)
            if key != first:
                require_same_axes(str(data[first]), item[first], str(data[key]), item[key])
        return item

    def _load_regions(self, path: str, file: str | None, image: MetaTensor | None, part: Part) -> MetaTensor:
        roi = self.load_label.roi
        if roi is None or image is None or file is None:
            return load_regions(path, image, part)
        whole = MetaTensor(torch.zeros(1, *spatial_shape(file)[:2], *image.shape[3:]), meta=dict(image.meta))
        label = roi.cut(path, load_regions(path, whole, part))
        return MetaTensor(label.as_tensor(), meta=dict(image.meta))

    def _with_neighbours(self, image: MetaTensor, file: str, slices: Sequence[int]) -> MetaTensor:
        around = len(slices) // 2
        shown = [image if place == around else self.load_image(file, index) for place, index in enumerate(slices)]
        if len({each.shape for each in shown}) > 1:
            raise ImageError(file, f"its slices are {tuple(shown[0].shape[1:])} px, the image {tuple(image.shape[1:])}")
        whole = MetaTensor(torch.cat([each.as_tensor() for each in shown]), meta=dict(image.meta))
        whole.meta[CONTEXT] = around
        return whole


def require_same_axes(image_path: str, image: MetaTensor, label_path: str, label: MetaTensor) -> None:
    """Pixels go together by their numbers, so the affines of both must give their axes the same directions.

    NIfTI with the identity is what programs write that know of no directions: it is mentioned and let pass.

    Raises:
        ImageError: naming both directions, where they differ and both formats tell them.
    """
    files = {image_path: image, label_path: label}
    if not all(extension(path) in (*NIFTI, *META_IMAGE) for path in files):
        return
    affines = {path: np.asarray(pixels.affine, dtype=float) for path, pixels in files.items()}
    wanted, found = ("".join(map(str, nib.aff2axcodes(affine))) for affine in affines.values())
    if wanted == found:
        return
    said = f"its axes run to {found} (left, right, anterior, posterior, ...), those of {image_path} to {wanted}"
    if any(extension(path) in NIFTI and np.allclose(each[:3, :3], np.eye(3)) for path, each in affines.items()):
        logger.warning(
            "%s: %s; one affine is the identity and tells nothing: pixels go by their order", label_path, said
        )
        return
    raise ImageError(label_path, f"{said}: the same pixel is another place; save it on the grid of the image")

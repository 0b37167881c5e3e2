"""The spacing of a volume at inference: noted for the sizes of cells, and compared with that of the training."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform

from bundle.data.formats import require_one_volume
from bundle.data.spacing import VOXEL_SPACING, require_spacing, stated_spacing, warn_of_other_spacing


class VoxelSpacingd(MapTransform):
    """Note the spacing of volumes (x, y, z), µm, in their meta data; NaN where nobody states it.

    A volume whose voxels have another shape or size than those of the training is mentioned in the log.

    Args:
        keys: of the volumes, CHWD, as :class:`bundle.data.loading.LoadSliced` reads them; images without slices stay
            as they are.
        spacing: given by a person, for all; None takes what each file states.
        trained: that of the training, where it is known.

    Raises:
        ValueError: for another ``spacing``.
        ImageError: at a call, as :func:`bundle.data.formats.require_one_volume`.
    """

    def __init__(
        self, keys: KeysCollection, spacing: Sequence[float] | None = None, trained: Sequence[float] | None = None
    ) -> None:
        super().__init__(keys)
        self.spacing = None if spacing is None else require_spacing(spacing)
        self.trained = trained

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        for key in self.key_iterator(dict(data)):
            image = data[key]
            if image.ndim < 4:  # a single slice among stacks
                continue
            path = str(image.meta.get("filename_or_obj", ""))
            require_one_volume(path)
            found = self.spacing or stated_spacing(path)
            warn_of_other_spacing(path, found, self.trained)
            image.meta[VOXEL_SPACING] = tuple(found or (math.nan,) * 3)  # a batch holds no None
        return dict(data)

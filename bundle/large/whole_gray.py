"""Parts of a large image are standardised as the whole of it is, in training as in inference."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import lru_cache
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import TransformBackends

from bundle.data.channels import Channels
from bundle.data.stores.window import open_whole
from bundle.data.windows import window_of
from bundle.large.gray import GrayValues, measure
from transforms.intensity.standardize import WHOLE


class WholeGrayd(MapTransform):
    """Tell :class:`transforms.Standardize` the gray values of the whole image that a part was read of.

    The whole image is read once for that, part by part. Images that are no part of another one stay as they are.

    Args:
        keys: of images, as :class:`bundle.data.load_slice.LoadSlice` gives them.
        channels: that were selected of them.
        robust: of the standardisation.
    """

    backend = [TransformBackends.TORCH]  # noqa: RUF012 - MONAI's convention

    def __init__(
        self, keys: KeysCollection, channels: Channels | str, robust: bool = False, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.channels, self.robust = Channels.of(channels), robust

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            meta = getattr(d[key], "meta", {})
            window = window_of(meta.get("filename_or_obj", ""))
            if window is not None:
                gray = _gray(window.file, self.channels, self.robust)
                meta[WHOLE] = gray.moments[0], gray.edges[0] if gray.edges else None
        return d


@lru_cache(maxsize=1024)
def _gray(file: str, channels: Channels, robust: bool) -> GrayValues:
    return measure(open_whole(file), channels, by_slice=False, robust=robust)

"""The nuclei of the Data Science Bowl 2018 (BBBC038): one mask file a nucleus, joined into one label map an image."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import tifffile

from bundle.data.errors import ImageError
from bundle.data.formats import natural_key
from bundle.data.readers import read_image


def join_masks(root: Path) -> None:
    """Turn ``ID/images/ID.png`` and ``ID/masks/*.png`` into ``image/ID.png`` and ``label/ID.tif`` (uint16, 1..N).

    ``root``, the unpacked ``stage1_train.zip``, is changed in place.

    Raises:
        ImageError: for a mask that is unreadable or of another size than the others.
    """
    sources = sorted((folder for folder in root.iterdir() if (folder / "masks").is_dir()), key=natural_key)
    for name in ("image", "label"):
        (root / name).mkdir()
    for source in sources:
        labels: np.ndarray | None = None
        for number, mask in enumerate(sorted((source / "masks").glob("*.png")), 1):
            inside = read_image(str(mask), np.dtype(np.float32))[0].numpy().T > 0
            labels = np.zeros(inside.shape, np.uint16) if labels is None else labels
            if inside.shape != labels.shape:
                raise ImageError(mask, f"its size (y, x) is {inside.shape}, that of the masks before {labels.shape}")
            labels[inside] = number
        picture = source / "images" / f"{source.name}.png"
        if labels is not None and picture.is_file():
            tifffile.imwrite(root / "label" / f"{source.name}.tif", labels, compression="zlib", metadata=None)
            picture.rename(root / "image" / picture.name)
        shutil.rmtree(source)

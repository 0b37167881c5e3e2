"""Whether an image and its label lie on one grid, where their formats tell."""

from __future__ import annotations

import logging

import nibabel as nib
import numpy as np
from monai.data import MetaTensor

from bundle.data.errors import ImageError
from bundle.data.formats import META_IMAGE, NIFTI, extension

__all__ = ["require_same_axes"]

logger = logging.getLogger(__name__)


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

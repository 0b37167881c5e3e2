"""Inference that keeps the geometry of single planes."""

from __future__ import annotations

from typing import Any

import nibabel as nib
import numpy as np
from monailabel.tasks.infer.bundle import BundleInferTask

__all__ = ["InferTask"]


class InferTask(BundleInferTask):
    """The stock inference of a bundle; a NIfTI mask of two axes gets its image's affine, which MONAI Label drops."""

    def writer(self, data: dict[str, Any], extension: str | None = None, dtype: Any = None) -> tuple[Any, Any]:
        file, result = super().writer(data, extension, dtype)
        labels = data[self.output_label_key]
        affine = data.get(f"{self.output_label_key}_meta_dict", {}).get("affine")
        spatial = np.shape(affine) == (4, 4)  # the affine of a PNG is one of two axes
        if labels.ndim == 2 and spatial and str(file).endswith((".nii", ".nii.gz")):
            nib.save(nib.Nifti1Image(labels.cpu().numpy().astype(data["result_dtype"]), affine), file)
        return file, result

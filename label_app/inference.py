"""Inference that keeps the geometry of single planes."""

from __future__ import annotations

from typing import Any

import nibabel as nib
import numpy as np
from monailabel.tasks.infer.bundle import BundleInferTask

__all__ = ["InferTask"]


class InferTask(BundleInferTask):
    """The stock inference of a bundle, with two things more.

    - A NIfTI mask of two axes gets its image's affine, which MONAI Label drops.
    - Where each cell has a number and there are several classes, the answer names the class of each: ``cell_classes``.
    """

    def writer(self, data: dict[str, Any], extension: str | None = None, dtype: Any = None) -> tuple[Any, Any]:
        file, result = super().writer(data, extension, dtype)
        labels = data[self.output_label_key]
        affine = data.get(f"{self.output_label_key}_meta_dict", {}).get("affine")
        spatial = np.shape(affine) == (4, 4)  # the affine of a PNG is one of two axes
        if labels.ndim == 2 and spatial and str(file).endswith((".nii", ".nii.gz")):
            nib.save(nib.Nifti1Image(labels.cpu().numpy().astype(data["result_dtype"]), affine), file)
        if "cell_classes" in data:
            names = {number: name for name, number in self.labels.items()}
            table = enumerate(data["cell_classes"].tolist())
            result["cell_classes"] = {str(number): names[kind] for number, kind in table if number}
        return file, result

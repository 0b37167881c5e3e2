"""Inference that keeps the geometry of single planes, tells how far it is, and can be cancelled."""

from __future__ import annotations

import threading
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monailabel.tasks.infer.bundle import BundleInferTask
from monailabel.utils.others.generic import name_to_device

from label_app.progress import Progress


class InferTask(BundleInferTask):
    """The stock inference of a bundle, with four things more.

    - A NIfTI mask of two axes gets its image's affine, which MONAI Label drops.
    - Where each cell has a number and there are several classes, the answer names the class of each: ``cell_classes``.
    - One inference at a time, for the config that it is made from is changed by each request.
    - Its ``progress``; and beside the mask the probability of "cell", ``data["probability"]``, of HW[D].
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.progress = Progress()
        self.lock = threading.RLock()
        super().__init__(*args, **kwargs)

    def __call__(self, request: Any, callbacks: Any = None) -> tuple[Any, Any]:
        with self.lock:
            return super().__call__(request, callbacks)

    def inferer(self, data: Any = None) -> Any:
        inferer = super().inferer(data)
        inferer.on_tile = self.progress.tile
        return inferer

    def prepared(self, path: str, device: str | None = None) -> tuple[Any, Any, torch.Tensor]:
        """Network, inferer and image, for passes that no mask is written of; to be used while ``lock`` is held."""
        device = name_to_device(device)
        data = {**self.config(), "image": path, "image_path": path, "device": device}
        data = self.run_pre_transforms(data, self.pre_transforms(data))
        return self._get_network(device, data), self.inferer(data), data["image"].to(torch.device(device))

    def run_post_transforms(self, data: dict[str, Any], transforms: Any) -> Any:
        if data.get("skip_writer"):
            probability = torch.as_tensor(data[self.output_label_key])
            data["probability"] = probability[0] if len(probability) == 1 else probability[1:].sum(0).clamp(0, 1)
        return super().run_post_transforms(data, transforms)

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

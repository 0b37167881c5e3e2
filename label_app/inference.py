"""Inference that keeps the geometry of single planes."""

from __future__ import annotations

from typing import Any

from monailabel.tasks.infer.bundle import BundleInferTask
from monailabel.transform.writer import Writer

__all__ = ["InferTask"]


class InferTask(BundleInferTask):
    """The stock inference of a bundle; a NIfTI file of two axes gets its affine, which MONAI Label else drops."""

    def writer(self, data: dict, extension: str | None = None, dtype: Any = None) -> tuple[Any, Any]:
        given = {"result_extension": extension, "result_dtype": dtype}
        data.update({key: value for key, value in given.items() if value is not None})
        plane = data[self.output_label_key].ndim == 2
        return Writer(label=self.output_label_key, json=self.output_json_key, nibabel=plane)(data)

"""The same cells in every format, and what inference without MONAI Label makes of them."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import tifffile
import torch
from PIL import Image

from bundle.cells.instances import probability_to_instances
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.model import TrainedNetwork
from transforms import Standardize

AFFINE = np.array([[0.5, 0.1, 0, 3], [-0.1, 0.5, 0, 4], [0, 0, 2, 5], [0, 0, 0, 1.0]])
#: of every image the gray values that the network sees, (rows, columns) or (slices, rows, columns)
KINDS = ("png", "rgb", "tif8", "tif16", "stack", "plane", "volume")


def write(folder: Path, gray: np.ndarray) -> dict[str, np.ndarray]:
    """Images of every kind from one of 8 bit; their gray values by name."""
    folder.mkdir(parents=True)
    colour = np.stack([gray, gray // 2, gray // 3], axis=-1)
    pages = np.stack([gray, gray[::-1]])
    Image.fromarray(gray).save(folder / "png.png")
    Image.fromarray(colour).save(folder / "rgb.png")
    tifffile.imwrite(folder / "tif8.tif", gray)
    tifffile.imwrite(folder / "tif16.tif", gray.astype(np.uint16) * 200)
    tifffile.imwrite(folder / "stack.tif", pages, photometric="minisblack")
    nib.save(nib.Nifti1Image(gray.T, AFFINE), folder / "plane.nii.gz")
    nib.save(nib.Nifti1Image(gray.T[:, :, None], AFFINE), folder / "volume.nii.gz")
    luminance = colour.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return {
        **dict.fromkeys(("png", "tif8", "plane", "volume"), gray),
        "rgb": luminance,
        "tif16": gray.astype(np.uint16) * 200,
        "stack": pages,
    }


def read(file: Path) -> np.ndarray:
    """(rows, columns) or (slices, rows, columns) of a mask, whatever its format."""
    if file.name.endswith(".nii.gz"):
        return np.asarray(nib.load(file).dataobj).T.squeeze()
    return tifffile.imread(file) if file.suffix == ".tif" else np.asarray(Image.open(file))


def direct(model: Path, gray: np.ndarray, separate: bool) -> np.ndarray:
    """The mask of inference with this bundle alone; the network sees (x, y), as MONAI's readers give it."""
    if gray.ndim == 3:
        planes = [direct(model, plane, separate) for plane in gray]
        counts = np.cumsum([0, *[plane.max() for plane in planes[:-1]]]) if separate else [0, 0]
        return np.stack([np.where(p > 0, p + count, 0) for p, count in zip(planes, counts, strict=True)])
    probability = torch.softmax(logits(model, gray), dim=0)[1].numpy()
    if not separate:
        return (probability > 0.5).T
    return probability_to_instances(probability, threshold=0.5, min_size=20, fill_holes=True, close_gaps=1.0).T


def logits(model: Path, gray: np.ndarray) -> torch.Tensor:
    return OverlapTileInferer(precision="auto")(network_input(gray)[None], network(model))[0]


def network_input(gray: np.ndarray) -> torch.Tensor:
    """(rows, columns), or (channels, rows, columns), as the network sees it."""
    channels = gray if gray.ndim == 3 else gray[None]
    return Standardize()(torch.from_numpy(channels.transpose(0, 2, 1).astype(np.float32).copy()))


def network(model: Path) -> torch.nn.Module:
    return TrainedNetwork(model).load().eval()

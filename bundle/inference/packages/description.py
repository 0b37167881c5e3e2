"""What a package says of itself: rdf.yaml, and the documentation that people read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from bundle.geometry import AxisGeometry
from bundle.model import TrainedNetwork

#: versions of the description. The first is read by all; programs of the second mirror in another way unless told how,
#: and those of the first refuse a description that tells it
FORMATS = ("0.5.7", "0.5.12")

_PAPER = {
    "text": "Ronneberger O, Fischer P, Brox T (2015) U-Net: Convolutional Networks for Biomedical Image Segmentation. "
    "MICCAI 2015, LNCS 9351, 234-241.",
    "doi": "10.1007/978-3-319-24574-4_28",
}


def rdf(
    version: str,
    trained: TrainedNetwork,
    axes: Sequence[AxisGeometry],
    sums: Mapping[str, str],
    about: Mapping[str, Any],
    weights: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """The description of a package, plain values for YAML.

    Args:
        version: of the description, a key of :data:`FORMATS`.
        trained: the network.
        axes: its sizes along height and width.
        sums: file of the package -> SHA-256.
        about: name, description, authors, cite, license and whether there are terms.
        weights: entries that are not the same for all networks, by format.

    Returns:
        the content of rdf.yaml.
    """
    named = trained.channels().names or ["gray"] if trained.channels().count == 1 else trained.channels().names
    channels = named or [f"channel{number}" for number in range(trained.channels().count or 1)]

    def file(name: str) -> dict[str, str]:
        return {"source": name, "sha256": sums[name]}

    space = [(name, axis) for name, axis in zip("yx", axes, strict=True)]
    inputs = [
        {"type": "space", "id": name, "size": {"min": 2 * axis.halo + axis.step, "step": axis.step}}
        for name, axis in space
    ]
    outputs = [
        {"type": "space", "id": name, "size": {"tensor_id": "image", "axis_id": name}, "halo": axis.halo}
        for name, axis in space
    ]
    newer = version != FORMATS[0]
    origin = {"parent": "pytorch_state_dict"}
    torch_version = {"pytorch_version": torch.__version__.partition("+")[0]}
    return {
        "format_version": version,
        "type": "model",
        "name": about["name"],
        "description": about["description"],
        "authors": [{"name": name} for name in about["authors"]],
        "cite": [_PAPER, *about["cite"]],
        **({"license": about["license"]} if about["license"] else {}),
        "tags": ["unet", "2d", "semantic-segmentation", "pytorch", "valid-convolutions", "overlap-tile"],
        "documentation": file("README.md") if newer else "README.md",
        "covers": [file("cover.png") if newer else "cover.png"],
        "attachments": [file(name) for name in ("card.json", "LICENSES.txt") if name in sums],
        "inputs": [
            {
                "id": "image",
                "description": "microscopy image",
                "axes": [{"type": "batch"}, {"type": "channel", "channel_names": _identifiers(channels)}, *inputs],
                "test_tensor": file("test_image.npy"),
                "sample_tensor": file("sample.tif"),
                "data": {"type": "float32"},
                "preprocessing": [{"id": "zero_mean_unit_variance", "kwargs": {"axes": ["y", "x"]}}],
                **({"pad": {"mode": "reflect"}} if newer else {}),
            }
        ],
        "outputs": [
            {
                "id": "probability",
                "description": "probability of each class",
                "axes": [
                    {"type": "batch"},
                    {"type": "channel", "channel_names": _identifiers(trained.classes.names)},
                    *outputs,
                ],
                "test_tensor": file("test_probability.npy"),
                "sample_tensor": file("sample_probability.tif"),
                "data": {"type": "float32", "range": [0.0, 1.0]},
            }
        ],
        "weights": {
            "pytorch_state_dict": {**file("weights.pt"), **torch_version, **weights["pytorch_state_dict"]},
            "torchscript": {**file("weights.ts"), **torch_version, **origin},
            "onnx": {**file("weights.onnx"), **origin, **weights["onnx"]},
        },
        "config": {"seamless_unet": {"card": "card.json", "cells": trained.cell_options().told}},
    }


def _identifiers(names: Sequence[str]) -> list[str]:
    return [re.sub(r"\W|^(?=\d)", "_", name) for name in names]


def documentation(
    trained: TrainedNetwork, axes: Sequence[AxisGeometry], about: Mapping[str, Any], version: str, notes: str
) -> str:
    """README.md of a package: what goes in and comes out, how it was measured, where it comes from.

    Args:
        notes: what was measured on data, Markdown; may be empty.
    """
    card = trained.card
    step = " x ".join(dict.fromkeys(str(axis.step) for axis in axes))
    smallest = " x ".join(dict.fromkeys(str(2 * axis.halo + axis.step) for axis in axes))
    halo = " x ".join(dict.fromkeys(str(axis.halo) for axis in axes))
    reads = {
        "0.5.7": "ilastik, BiaPy and all that use bioimageio.core 0.9; deepImageJ and QuPath read its files, too",
        "0.5.12": "bioimageio.core 0.11; it says how to mirror, which earlier programs do not read",
    }
    terms = "`LICENSES.txt`" if about["terms"] else "not stated, ask the authors"
    held_out = card.get("result", {}).get("held_out", {})
    measured = [
        f"| {way} | {', '.join(f'{name} {value:.4g}' for name, value in values.items())} |"
        for way, values in held_out.items()
        if isinstance(values, dict)
    ]
    lines = [
        f"# {about['name']}",
        "",
        about["description"],
        "",
        f"For {reads[version]}.",
        "",
        "## Input and output",
        "",
        f"- Input: `batch, channel, y, x`. Sides are multiples of {step} px, at least {smallest}: pad other images by "
        "mirroring, else the last block of an image is off the pooling grid and its values differ.",
        "- Each image and channel is standardised to mean 0 and deviation 1, **over the whole image, before it "
        "is cut into blocks or padded**. Do it yourself where your program cannot.",
        f"- Output: the probability of {', '.join(trained.classes.names)}, of the size of the input. Programs that cut "
        f"tiles need an overlap (halo) of {halo} px on each side.",
        f"- Cells are read off the probability with {_told(trained.cell_options().told)}.",
        "",
        "## Validation",
        "",
        "Before this package was written, its formats were compared with the network itself, within 1e-5: TorchScript "
        "and state dict in blocks, ONNX at three sizes.",
        "",
        *([f"On held-out images ({', '.join(held_out.get('images', []))}):", "", "| | |", "|---|---|", *measured, ""]
          if measured else ["The card of this network holds no result on held-out images: measure it on yours.", ""]),
        *([notes.strip(), ""] if notes else []),
        "## Origin",
        "",
        f"- Trained: {trained.origin()}",
        "- Card with settings, versions and a digest of each image: `card.json`."
        if card else "- It came without a card.",
        f"- Licence of the weights: {about['license'] or terms}. Terms of the data: {terms}. Licence of "
        "`architecture.py`: Apache-2.0.",
        "- Cite: " + " ".join(entry["text"] for entry in [_PAPER, *about["cite"]]),
        "",
    ]  # fmt: skip
    return "\n".join(lines)


def _told(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in options.items() if value is not None)

"""A trained network becomes a package."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import tifffile
import torch
import yaml
from PIL import Image

from bundle import atomic
from bundle.data.dic_cells import draw_cells
from bundle.data.loading import LoadSliced
from bundle.geometry import AxisGeometry
from bundle.inference.packages.description import FORMATS, documentation, rdf
from bundle.inference.packages.proof import require_equal, require_onnx_at_other_sizes
from bundle.inference.packages.sources import BUILDER, architecture
from bundle.inference.packages.weights import archive, onnx_weights, state_dict, torchscript
from bundle.inference.packages.wrapper import PackagedNetwork, rows_and_columns
from bundle.model import TrainedNetwork
from bundle.model.card import robust_gray
from transforms import Standardize

#: of the test image, steps of the network beyond the smallest input of a package
_BEYOND = (5, 6)
#: deviation of a probability over the test image, at least: where it is 1 all over, every mistake would pass
_VARIED = 0.01


class Package:
    """Writes a network for other programs, after comparing each format with what this bundle gives.

    Args:
        trained: the network, of two spatial axes and without padding, on whole images.
        authors: names of who trained it.
        title: 5 to 64 letters, digits and ``_+-()``; None: from the name of the file.
        description: a sentence.
        cite: further articles, each ``{"text": ..., "doi": ...}``.
        license: of the weights, an identifier of spdx.org; None: what ``terms`` say.
        terms: text file with the terms of code, data and weights.
        sample: an image to show and to test with; None: synthetic cells.
        cover: picture, 2:1; None: the sample beside its probability.
        notes: Markdown file with what was measured, for the documentation.

    Raises:
        ValueError: for a network that a package cannot hold exactly, missing or malformed words, and a sample on
            which the network finds nothing.
    """

    def __init__(
        self,
        trained: TrainedNetwork,
        authors: Sequence[str] | None = None,
        title: str | None = None,
        description: str | None = None,
        cite: Sequence[Mapping[str, str]] = (),
        license: str | None = None,
        terms: str | os.PathLike[str] | None = None,
        sample: str | os.PathLike[str] | None = None,
        cover: str | os.PathLike[str] | None = None,
        notes: str | os.PathLike[str] | None = None,
    ) -> None:
        if isinstance(authors, str) or not authors or not all(isinstance(name, str) and name for name in authors):
            raise ValueError(
                f"authors must name who trained the network, got {authors!r}: give --authors \"['First Last']\""
            )
        title = f"seamless-unet {trained.name}" if title is None else title
        if not re.fullmatch(r"[A-Za-z0-9_+\-() ]{5,64}", title):
            raise ValueError(f"title must be 5 to 64 letters, digits, spaces and _+-(), got {title!r}")
        self.trained = trained
        self.about: dict[str, Any] = {
            "name": title,
            "authors": list(authors),
            "description": description or f"{', '.join(trained.classes.names)} in microscopy images, by a U-Net.",
            "cite": [dict(entry) for entry in cite],
            "license": license,
            "terms": terms is not None,
        }
        self.terms, self.sample, self.cover, self.notes = terms, sample, cover, notes

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Write ``NAME.zip``, and ``NAME-0.5.12.zip`` for programs of that description and later; print their sums.

        Raises:
            ValueError: as :class:`Package`.
            RuntimeError: when a format does not give what the network gives.
            OSError: when they cannot be written.
        """
        folder = atomic.require_writable(folder, "package_dir")
        _require_packable(self.trained)
        _, arguments, _ = self.trained.definition()
        network: Any = self.trained.load().eval()
        axes = rows_and_columns(network)
        raw = self._image(axes)
        image = Standardize()(raw)[None].as_subclass(torch.Tensor)

        folded = PackagedNetwork(network.fold_batch_norm()).eval()
        source, script = architecture(type(network)), torchscript(folded)
        weights = state_dict(PackagedNetwork(network))
        scripted = torch.jit.load(io.BytesIO(script))
        ours = require_equal(scripted, network, image, "TorchScript")
        if float(ours.std(dim=(2, 3)).max()) < _VARIED:
            raise ValueError(
                f"the network gives nearly one probability all over {self.sample or 'the drawn cells'}, with which "
                "nothing can be compared: give an image like those that trained it by --sample"
            )
        require_equal(_from_source(source, arguments, weights), network, image, "the state dict")
        onnx, opset = onnx_weights(folded, image.repeat(2, 1, 1, 1))
        require_onnx_at_other_sizes(onnx, scripted, image, _smallest(axes))

        files = {
            "weights.pt": weights,
            "weights.ts": script,
            "weights.onnx": onnx,
            "architecture.py": source.encode(),
            "test_image.npy": _npy(raw[None].numpy()),
            "test_probability.npy": _npy(ours.numpy()),
            "sample.tif": _tiff(raw[None].numpy()),
            "sample_probability.tif": _tiff(ours.numpy()),
            "cover.png": self._cover(raw, ours),
        }
        if self.terms:
            files["LICENSES.txt"] = Path(self.terms).read_bytes()
        if self.trained.card:
            card = {"sha256": atomic.sha256(self.trained.path), **self.trained.card}
            files["card.json"] = json.dumps(card, indent=4).encode()
        sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        code = {"source": "architecture.py", "sha256": sums["architecture.py"]}
        entries: dict[str, Mapping[str, Any]] = {
            "pytorch_state_dict": {"architecture": {**code, "callable": BUILDER, "kwargs": arguments}},
            "onnx": {"opset_version": opset},
        }
        notes = Path(self.notes).read_text(encoding="utf-8") if self.notes else ""
        for version in FORMATS:
            text = documentation(self.trained, axes, self.about, version, notes).encode()
            sums["README.md"] = hashlib.sha256(text).hexdigest()
            described = rdf(version, self.trained, axes, sums, self.about, entries)
            words = yaml.safe_dump(described, sort_keys=False, allow_unicode=True).encode()
            suffix = "" if version == FORMATS[0] else f"-{version}"
            path = folder / f"{self.trained.name}{suffix}.zip"
            with atomic.replacing(path) as part:
                part.write_bytes(archive({"rdf.yaml": words, "README.md": text, **files}))
            print(f"{path}: description {version}, SHA-256 {atomic.sha256(path)}")

    def _image(self, axes: Sequence[AxisGeometry]) -> torch.Tensor:
        """CHW float32 as the image's file has it, of a size that the package takes."""
        size = tuple(least + more * axis.step for least, more, axis in zip(_smallest(axes), _BEYOND, axes, strict=True))
        channels = self.trained.channels()
        if self.sample is None:
            drawn = [draw_cells(size, seed=number)[0] for number in range(channels.count or 1)]
            return torch.from_numpy(np.stack(drawn).astype(np.float32))
        loaded: torch.Tensor = LoadSliced("image", channels=channels)({"image": str(self.sample)})["image"].as_tensor()
        image = (loaded if loaded.dim() == 3 else loaded[..., 0]).float().transpose(1, 2)  # rows first
        if any(n < least for n, least in zip(image.shape[1:], size, strict=True)):
            raise ValueError(
                f"sample {self.sample} has {' x '.join(map(str, image.shape[1:]))} px: give an image of at least "
                f"{' x '.join(map(str, size))}"
            )
        top, left = ((n - side) // 2 for n, side in zip(image.shape[1:], size, strict=True))
        return image[:, top : top + size[0], left : left + size[1]].contiguous()

    def _cover(self, raw: torch.Tensor, probability: torch.Tensor) -> bytes:
        if self.cover is not None:
            return Path(self.cover).read_bytes()
        gray = raw.mean(0)
        gray = (gray - gray.min()) / (gray.max() - gray.min()).clamp(min=1e-6)
        side = min(gray.shape)
        pair = torch.cat([gray[:side, :side], 1 - probability[0, 0, :side, :side]], dim=1)
        buffer = io.BytesIO()
        Image.fromarray((pair * 255).round().to(torch.uint8).numpy()).save(buffer, "PNG")
        return buffer.getvalue()


def _smallest(axes: Sequence[AxisGeometry]) -> tuple[int, int]:
    rows, columns = (2 * axis.halo + axis.step for axis in axes)
    return rows, columns


def _require_packable(trained: TrainedNetwork) -> None:
    """Raises ValueError for what programs of bioimage.io could not run as this bundle does."""
    if not trained.path.is_file():
        trained.load()  # which says so
    network: Any = trained.build()
    reason = None
    if getattr(network, "spatial_dims", 2) != 2:
        reason = "is a network of volumes, and a package holds networks of 2D images"
    elif not network.geometry.seamless:
        reason = f"({type(network).__name__}) pads its convolutions, so that blocks would show seams"
    elif trained.context_slices:
        reason = "sees neighbouring slices, which other programs do not hand over"
    elif robust_gray(trained.card):
        reason = "was trained with clipped gray values (robust), which other programs do not clip alike"
    if reason:
        raise ValueError(
            f"checkpoint {trained} cannot become a package: it {reason}; use configs/inference.json for it"
        )


def _from_source(source: str, arguments: Mapping[str, Any], weights: bytes) -> torch.nn.Module:
    """The network as a program makes it from the package: from the code, the arguments and the state dict."""
    module = ModuleType("packaged_architecture")
    sys.modules[module.__name__] = module  # dataclasses look there
    try:
        exec(compile(source, "architecture.py", "exec"), module.__dict__)
    finally:
        del sys.modules[module.__name__]
    network: torch.nn.Module = getattr(module, BUILDER)(**arguments).eval()
    network.load_state_dict(torch.load(io.BytesIO(weights), weights_only=True))
    return network


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array, dtype=np.float32))
    return buffer.getvalue()


def _tiff(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array.astype(np.float32), metadata=None, software="")
    return buffer.getvalue()

"""Stage this bundle with one network for MONAI's model zoo and the Hugging Face hub, and verify it as the zoo does.

``python -m bundle.inference.packages.zoo --checkpoint models/em_membranes.pt --to zoo/seamless_unet``
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from bundle import atomic
from bundle.model import TrainedNetwork

_ROOT = Path(__file__).resolve().parents[3]
_FOLDERS = ("bundle", "configs", "docs", "transforms")
_FILES = ("LICENSE", "CHANGELOG.md", "CITATION.cff", "pyproject.toml")
_FILES_OF_CODE = shutil.ignore_patterns("__pycache__", "*.pyc")


def stage(checkpoint: str | Path, folder: str | Path) -> Path:
    """Copy the bundle into ``folder``, which must be new, with the network as ``models/model.pt``.

    Raises:
        FileExistsError: when the folder is there and not empty.
        ValueError, OSError: as :class:`bundle.model.TrainedNetwork`, and when it cannot be written.
    """
    folder = Path(folder)
    if folder.is_dir() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty: remove it, or give another folder by --to")
    trained = TrainedNetwork(checkpoint)
    trained.build()  # what inference could not load is nothing to publish
    with atomic.replacing(folder) as part:
        part.mkdir()
        for name in _FOLDERS:
            shutil.copytree(_ROOT / name, part / name, ignore=_FILES_OF_CODE)
        for name in _FILES:
            shutil.copy(_ROOT / name, part / name)
        (part / "models").mkdir()
        trained.copy_to(part / "models" / "model.pt")
        (part / "README.md").write_text(hub_card(trained), encoding="utf-8")
    return folder


def hub_card(trained: TrainedNetwork) -> str:
    """The model card with the front matter of the Hugging Face hub.

    Names of classes and the first result on held-out images are those of the network's card.
    """
    held_out = trained.card.get("result", {}).get("held_out", {})
    results = next((values for values in held_out.values() if isinstance(values, dict)), {})
    front: dict[str, Any] = {
        "license": "other",
        "license_name": "code-apache-2.0-weights-as-their-data",
        "license_link": "docs/data_license.txt",
        "library_name": "monai",
        "pipeline_tag": "image-segmentation",
        "tags": ["monai", "medical", "microscopy", "u-net", "segmentation", *trained.classes.names],
    }
    if results:
        front["model-index"] = [
            {
                "name": trained.name,
                "results": [
                    {
                        "task": {"type": "image-segmentation"},
                        "dataset": {"name": f"held out: {', '.join(held_out.get('images', []))}", "type": "own"},
                        "metrics": [{"type": name, "value": value} for name, value in results.items()],
                    }
                ],
            }
        ]
    text = (_ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    return f"---\n{yaml.safe_dump(front, sort_keys=False)}---\n\n{text}"


def verify(folder: Path, schema: Path) -> None:
    """The steps of the zoo's own ``verify_bundle``, each by MONAI's command line, in the staged folder.

    Args:
        folder: as :func:`stage` made it.
        schema: of metadata.json, as a file: nothing is fetched.

    Raises:
        ValueError: for a version that is not in the changelog.
        subprocess.CalledProcessError: for a step that fails; it has printed why.
    """
    metadata = json.loads((folder / "configs" / "metadata.json").read_text(encoding="utf-8"))
    if metadata["version"] not in metadata["changelog"]:
        raise ValueError(
            f"version {metadata['version']} is not in the changelog of configs/metadata.json: add it there"
        )
    made = folder / "eval", folder / "models" / "verify_model.ts"
    made[0].mkdir()
    shutil.copy(schema, made[0] / "schema.json")
    config = ["--meta_file", "configs/metadata.json", "--config_file", "configs/inference.json"]
    steps = (
        ["verify_metadata", "--meta_file", "configs/metadata.json", "--filepath", "eval/schema.json"],
        ["verify_net_in_out", "network_def", *config],
        ["ckpt_export", "network_def", *config, "--filepath", str(made[1].relative_to(folder)),
         "--ckpt_file", "models/model.pt"],
    )  # fmt: skip
    try:
        for step in steps:
            subprocess.run([sys.executable, "-m", "monai.bundle", *step], cwd=folder, check=True)
            print(f"{step[0]}: passed")
    finally:
        shutil.rmtree(made[0])
        made[1].unlink(missing_ok=True)


def _main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bundle.inference.packages.zoo", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--checkpoint", default="models/em_membranes.pt", metavar="FILE", help="default: %(default)s")
    parser.add_argument("--to", default="zoo/seamless_unet", metavar="DIR", help="default: %(default)s")
    parser.add_argument("--schema", default="tests/metadata_schema.json", metavar="FILE", help="default: %(default)s")
    given = parser.parse_args(arguments)
    try:
        verify(stage(given.checkpoint, given.to), Path(given.schema))
    except (ValueError, OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    _main()

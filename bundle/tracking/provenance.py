"""Where a result comes from: code version, packages, machine, data and config."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser

from bundle.tracking.config import executed_config

_PROJECT = "seamless-unet"
_ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = (
    "torch",
    "monai",
    "pytorch-ignite",
    "mlflow",
    "numpy",
    "scipy",
    "scikit-image",
    "numba",
    "itk",
    "nibabel",
    "tifffile",
)


def provenance(
    config: Mapping[str, Any] | ConfigParser | None = None, items_fingerprint: str | None = None
) -> dict[str, str]:
    """What has to be known to repeat a run, as flat text for a tracking store or a report.

    Args:
        config: the executed config; its SHA-256 is taken over the JSON of :func:`executed_config`.
        items_fingerprint: fingerprint of the data list, as the data modules compute it.

    Returns:
        ``git_commit`` and ``git_dirty`` ("unknown" outside a checkout), ``bundle_version``, ``python``,
        ``platform``, ``cpu_count``, ``torch_threads``, ``device`` (of the machine: the name of the first GPU, or
        the processor), one ``package.<name>`` for each package that computes, and, where given,
        ``config_sha256`` and ``data_fingerprint``.
    """
    commit, dirty = git_version(_ROOT)
    gpu = torch.cuda.is_available()
    facts = {
        "git_commit": commit,
        "git_dirty": dirty,
        "bundle_version": _installed_version(_PROJECT) or _metadata_version(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_count": str(os.cpu_count()),
        "torch_threads": str(torch.get_num_threads()),
        "device": torch.cuda.get_device_name(0) if gpu else platform.processor() or platform.machine(),
    }
    facts |= {f"package.{name}": _installed_version(name) or "not installed" for name in _PACKAGES}
    if config is not None:
        text = json.dumps(executed_config(config), sort_keys=True)
        facts["config_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    if items_fingerprint is not None:
        facts["data_fingerprint"] = str(items_fingerprint)
    return facts


def git_version(folder: str | Path) -> tuple[str, str]:
    """``(commit, dirty)`` of the checkout that holds ``folder``; ``("unknown", "unknown")`` without one.

    ``dirty`` is "true" when a tracked file differs from the commit. A package that only happens to lie inside
    somebody else's checkout (a virtual environment, say) is not tracked there, and therefore unknown.
    """
    if not _git(folder, "ls-files", ".").strip():
        return "unknown", "unknown"
    commit = _git(folder, "rev-parse", "HEAD").strip()
    if not commit:
        return "unknown", "unknown"
    dirty = bool(_git(folder, "status", "--porcelain", "--untracked-files=no").strip())
    return commit, str(dirty).lower()


def _git(folder: str | Path, *arguments: str) -> str:
    """Output of a git command, empty when it fails or git is missing."""
    command = ["git", "-C", str(folder), *arguments]
    # GIT_OPTIONAL_LOCKS: reading the status must not lock the index of somebody who is committing
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, env=environment)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _installed_version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _metadata_version() -> str:
    """The version in the bundle's own metadata, for a bundle that is run from its folder without installation."""
    try:
        return str(json.loads((_ROOT / "configs" / "metadata.json").read_text(encoding="utf-8"))["version"])
    except (OSError, ValueError, KeyError):
        return "unknown"

"""Where a result comes from: code version, packages, machine, data and the executed config."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigExpression, ConfigParser

__all__ = ["executed_config", "flat_config", "git_version", "provenance", "running_config", "running_parser"]

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
# what a bundle runs, not what it runs with
_SEQUENCES = ("initialize", "run", "finalize", "training", "evaluating", "inference")


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


def executed_config(config: Mapping[str, Any] | ConfigParser) -> Any:
    """A config as plain JSON values: what is neither text, number, list nor mapping becomes its ``str``.

    Overrides given from Python may hold a ``torch.device``, a path or a function, on which ``json.dump`` fails.

    Raises:
        TypeError: when ``config`` is neither a mapping nor a :class:`monai.bundle.ConfigParser`.
    """
    if isinstance(config, ConfigParser):
        config = config.get()
    if not isinstance(config, Mapping):
        raise TypeError(f"config must be a mapping or a monai.bundle.ConfigParser, got {type(config).__name__}")
    return _plain(config)


def flat_config(config: Mapping[str, Any] | ConfigParser) -> Iterator[tuple[str, str]]:
    """Every value of a config with its path, as ``("optimizer.lr", "0.02")`` or ``("load.0._target_", "Compose")``.

    Text stays as it stands in the config, "@..." and "$..." unresolved; all else is JSON (``null``, ``true``, ``[]``).
    Left out are keys beginning with "_" other than "_target_", import statements, and the expressions that a run
    executes: the lists initialize, run, finalize, training, evaluating and inference.

    Raises:
        TypeError: see :func:`executed_config`.
    """
    plain = executed_config(config)
    return _leaves({key: value for key, value in plain.items() if key not in _SEQUENCES or isinstance(value, dict)})


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict | list) and value:
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            if key == "_target_" or not str(key).startswith("_"):
                yield from _leaves(item, f"{path}.{key}" if path else str(key))
    elif not isinstance(value, str):
        yield path, json.dumps(value)
    elif not ConfigExpression.is_import_statement(value):
        yield path, value


def running_config() -> dict[str, Any] | None:
    """The config that is being parsed or run at this moment, overrides of the command line included.

    None when the code was not called from a config.
    """
    parser = running_parser()
    return None if parser is None else executed_config(parser)


def running_parser() -> ConfigParser | None:
    """The parser of the config that is being parsed or run at this moment; None outside of one.

    ``monai.bundle run`` hands its parser to nobody, and a config cannot refer to itself as a whole; the parser is
    found as the ``self`` of one of the callers.
    """
    frame = inspect.currentframe()
    while frame is not None:
        owner = frame.f_locals.get("self")
        parser = owner if isinstance(owner, ConfigParser) else getattr(owner, "parser", None)
        if isinstance(parser, ConfigParser):
            return parser
        frame = frame.f_back
    return None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return str(value)


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

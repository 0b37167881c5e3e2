"""Whether torch and torchvision are of one build (CPU, CUDA): ``python -m label_app.torch_build`` asks beforehand.

MONAI Label imports torchvision, which cannot be imported beside a torch of another build. Needs Python and pip alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

_INDEX = "https://download.pytorch.org/whl/"
_PIP = [sys.executable, "-m", "pip", "install"]
_BOTH = ["-c", "constraints-label.txt", "torch", "torchvision"]


def require_one_build(torch: str, torchvision: str) -> None:
    """Compare versions such as "2.13.0+cpu" and "0.28.0".

    Raises:
        RuntimeError: with the command that installs both of torch's build.
    """
    build, other = (given.partition("+")[2] for given in (torch, torchvision))
    if build != other:
        raise RuntimeError(_refusal(torch, torchvision, "they are of different builds"))


def require_torchvision() -> None:
    """Import torchvision, if there is one.

    Raises:
        RuntimeError: with the command that mends it.
    """
    if find_spec("torchvision") is None:
        return
    try:
        import_module("torchvision")
    except RuntimeError as error:
        raise RuntimeError(_refusal(version("torch"), version("torchvision"), str(error))) from error


def _refusal(torch: str, torchvision: str, why: str) -> str:
    build = torch.partition("+")[2]
    index = _INDEX + build if build else "https://pypi.org/simple"
    command = " ".join([*_PIP, "--force-reinstall", "--index-url", index, *_BOTH])
    return (
        f"torchvision {torchvision} is no match for torch {torch} ({why}): install both from one index, "
        f"then try again: {command}"
    )


def _would_install() -> dict[str, str]:
    """Versions that pip would install, or that are there; nothing where pip cannot say, which its install will."""
    asked = [*_PIP, "--dry-run", "--no-deps", "--quiet", "--disable-pip-version-check", "--report", "-", *_BOTH]
    done = subprocess.run(asked, capture_output=True, text=True)
    if done.returncode:
        return {}
    found = {}
    for name in ("torch", "torchvision"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    metadata = (entry["metadata"] for entry in json.loads(done.stdout)["install"])
    return found | {entry["name"].lower(): entry["version"] for entry in metadata}


if __name__ == "__main__":
    versions = _would_install()
    try:
        if len(versions) == 2:
            require_one_build(**versions)
    except RuntimeError as error:
        sys.exit(f"error: {error}")

"""Which network inference uses: ``python -m bundle.model.publish runs/NAME`` makes it that of a run.

A training publishes its network by itself where there is none yet; to replace one is a decision.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from bundle.console import did_you_mean
from bundle.model import checkpoints
from bundle.model.int8_file import int8_file
from bundle.model.trained_network import TrainedNetwork

#: where inference looks first
_MODEL = "models/model.pt"


def is_published(run_dir: str | os.PathLike[str], model_file: str | os.PathLike[str]) -> bool:
    """Whether a model file holds the bytes of a run's best network."""
    return _same(Path(run_dir, "best.pt"), Path(model_file))


def _same(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and filecmp.cmp(one, other, shallow=False)


def how_to_publish(run_dir: str | os.PathLike[str], model_file: str | os.PathLike[str]) -> str:
    """What is published, and the command that replaces it by the network of a run."""
    to = "" if Path(model_file).resolve() == Path(_MODEL).resolve() else f" --to {shlex.quote(str(model_file))}"
    return (
        f"{model_file} stays as it is ({_origin(model_file)}); to publish this run instead: "
        f"python -m bundle.model.publish {shlex.quote(str(run_dir))}{to}"
    )


def publish(run_dir: str | os.PathLike[str], model_file: str | os.PathLike[str] = _MODEL) -> str:
    """Copy the best network of a run, and its card, to ``model_file``.

    Returns:
        what was done, and what was replaced.

    Raises:
        FileNotFoundError: when there is no such run, naming those beside it.
        ValueError: for a run that is not complete, a damaged file, and a network that is none of this bundle.
        OSError: when the file cannot be written; what was there stays.
    """
    run_dir = Path(run_dir)
    if not (run_dir / "last.pt").is_file():
        known = [str(file.parent) for file in sorted(run_dir.parent.glob("*/last.pt"))]
        raise FileNotFoundError(f"there is no run {run_dir}: {did_you_mean(run_dir, known)}")
    last = checkpoints.read(run_dir / "last.pt")
    if not (isinstance(last, dict) and last.get("complete")):
        raise ValueError(
            f"run {run_dir} is not complete: let its training end, or repeat its command with --run_name "
            f"{run_dir.name} --resume true"
        )
    trained, published = TrainedNetwork(run_dir / "best.pt"), TrainedNetwork(model_file, trust_weights=True)
    trained.load()  # what inference could not load is no network to publish
    replaced = f"; before, it was {_origin(model_file)}" if published.path.is_file() else ""
    if is_published(run_dir, model_file):
        int8 = int8_file(trained.path)
        new_int8 = int8.is_file() and not _same(int8, int8_file(model_file))
        if (published.card or not trained.card) and not new_int8:
            return f"{model_file} is the network of {run_dir} already: nothing to do"
        replaced = ""
    trained.copy_to(model_file)
    return f"{model_file} is now the network of {run_dir} ({trained.origin()}){replaced}"


def _origin(model_file: str | os.PathLike[str]) -> str:
    try:
        return TrainedNetwork(model_file, trust_weights=True).origin()
    except ValueError:  # a damaged file is no reason to keep it
        return "of unknown training"


def _main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bundle.model.publish", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", help="folder of a run that is complete, such as runs/NAME")
    parser.add_argument("--to", default=_MODEL, metavar="FILE", help="the model file (default: %(default)s)")
    given = parser.parse_args(arguments)
    try:
        print(publish(given.run, given.to))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    _main()

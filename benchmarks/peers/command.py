"""What the command lines of all peers share: options, threads, the folder of the result, errors in one line."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from benchmarks.peers.data import parts
from benchmarks.peers.report import Outcome, report
from bundle.data.item import Item

#: trains and segments: takes the options, the parts of the data and the folder of its result
Peer = Callable[[argparse.Namespace, Mapping[str, Sequence[Item]], Path], Outcome]


class PeerError(RuntimeError):
    """A peer that cannot run here, or failed; the message says what to do."""


def make_parser(module: str, description: str, name: str) -> argparse.ArgumentParser:
    """A parser with the options that every peer has.

    Args:
        module: for the usage line, as ``python -m benchmarks.peers.<module>``.
        description: for the help.
        name: of the result's folder, unless ``--name`` says another.
    """
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.peers.{module}", description=description)
    parser.add_argument("--dataset_dir", required=True, help="folder of train-volume.tif and train-labels.tif")
    parser.add_argument("--minutes", type=float, default=40.0, help="of a core, for the training (default 40)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (default 0)")
    parser.add_argument("--output_dir", default="output/peers", help="gets a folder NAME (default output/peers)")
    parser.add_argument("--name", default=name, help=f"of that folder (default {name})")
    parser.add_argument(
        "--validation", type=int, default=0, help="slices to keep out of training and to measure as well (default 0)"
    )
    parser.add_argument("--few", type=int, default=0, help="slices to train on, drawn with the seed (default 0: all)")
    cores = os.cpu_count() or 1
    parser.add_argument("--threads", type=int, default=cores, help=f"of torch (default all, here {cores})")
    return parser


def run(parser: argparse.ArgumentParser, peer: Peer, argv: Sequence[str] | None = None) -> int:
    """Run a peer and report; what is wrong with options, data or environment ends with one line and status 1 or 2."""
    options = parser.parse_args(argv)
    if not 0 < options.minutes < float("inf"):
        parser.error(f"--minutes must be above 0 and finite, got {options.minutes}")
    if options.threads < 1:
        parser.error(f"--threads must be at least 1, got {options.threads}")
    if not 0 <= options.seed < 2**32:
        parser.error(f"--seed must be within 0 .. 2^32 - 1, got {options.seed}")
    if not re.fullmatch(r"\w[\w.+-]*", options.name):
        parser.error(f"--name must be letters, digits and _ . + - (it names a folder), got {options.name!r}")
    torch.set_num_threads(options.threads)
    try:
        items = parts(options.dataset_dir, options.validation, options.few, options.seed)
        folder = _open(Path(options.output_dir) / options.name)
        outcome = peer(options, items, folder)
    except (ValueError, OSError, PeerError) as error:
        parser.exit(1, f"error: {error}\n")
    print(report(folder, options, items, outcome))
    print("\nseconds: " + ", ".join(f"{part} {seconds:.1f}" for part, seconds in outcome.seconds.items()))
    print(f"{outcome.seconds['training'] / outcome.steps:.3f} s a step; {folder / 'result.json'}")
    return 0


def _open(folder: Path) -> Path:
    """Make the folder of a result, unless there is one already."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        what = "a run already" if (folder / "result.json").exists() else "the remains of a run that did not end"
        raise FileExistsError(f"{folder} holds {what}: give another --name, or remove it; nothing is written over")
    return folder

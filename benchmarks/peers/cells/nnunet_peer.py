"""nnU-Net v2 (2d) on cells: its own plan and augmentation, with touching cells cut apart.

``python -m benchmarks.peers.cells.nnunet_peer --split SPLIT --output_dir OUT --nnunet_python nnunet_env/bin/python``
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import tifffile

from benchmarks.peers.cells.files import UNANNOTATED, options_of, read, read_training, write_facts
from benchmarks.peers.cells.semantic import UNKNOWN, cells_of, write_pairs
from benchmarks.peers.command import PeerError
from benchmarks.peers.nnunet import DATASET, add_options, describe, job_of, read_probability, require_nnunet, run_driver


def main(argv: Sequence[str] | None = None) -> None:
    own = argparse.ArgumentParser(add_help=False)
    add_options(own)
    options = options_of((__doc__ or "").split("\n")[0], argv, parents=[own])
    try:
        require_nnunet(options.nnunet_python)
        folder = options.output_dir.absolute()
        raw = folder / "nnUNet_raw" / DATASET
        pairs = read_training(options.split, partly=True)
        training = write_pairs(pairs, raw / "imagesTr", raw / "labelsTr", "_0000")
        names = write_pairs(read(options.split, options.part), raw / "imagesTs", None, "_0000")
        partly = any((label == UNANNOTATED).any() for _, label in pairs.values())
        describe(raw, "microscopy", len(training), UNKNOWN if partly else None)
        facts = run_driver(options.nnunet_python, folder, job_of(options, folder, threads=1))
    except PeerError as error:
        sys.exit(f"error: {error}")
    for name in names:
        cells = cells_of(read_probability(folder / "predictions" / f"{name}.npz"))
        tifffile.imwrite(folder / f"{name}_cells.tif", cells)
    write_facts(options, (), **{key: value for key, value in facts.items() if key != "losses"})


if __name__ == "__main__":
    main()

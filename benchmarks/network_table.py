"""``python -m benchmarks.network_table``: what the networks of a study cost beside what they reach, in one table.

Metrics are the study's (``study.csv``), whatever machines it ran on. Parameters and times are of this machine, measured
side by side in this process: a training step by the study's own configs, and an image of the networks that it trained.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from benchmarks.__main__ import machine, set_threads
from benchmarks.inference import overlap_tile
from benchmarks.steps import ConfiguredTrainer
from benchmarks.timing import Options, Table, Timing, digits, interleave, require
from bundle.atomic import write_text
from bundle.inference.precision import resolve_precision
from bundle.model import TrainedNetwork
from bundle.studies.definition import Study
from bundle.studies.study_file import read_study
from bundle.studies.summary import read_values, repeats_of, summarise
from bundle.studies.summary_markdown import formats_of, measured_cells
from bundle.studies.trial import StudyPaths, Trial, with_recorded


def networks_of(study: Study, paths: StudyPaths, values: pd.DataFrame) -> dict[str, nn.Module]:
    """variant -> the network of its first repeat, for those that were measured; with new weights, as good here."""
    found: dict[str, nn.Module] = {}
    for row in values[values.part == study.part].drop_duplicates("variant").itertuples():
        trial = Trial(study, paths, row.variant, row.seed, None if pd.isna(row.fold) else int(row.fold))
        network = TrainedNetwork(trial.run.checkpoint).build().eval()  # by its card; the weights may be elsewhere
        found[row.variant] = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return found


def time_steps(
    study: Study, networks: Mapping[str, nn.Module], options: Options, precision: str = "auto"
) -> dict[str, Timing]:
    """Seconds of a training step of each variant by its own configs, side by side; making the sample is left out.

    Raises:
        CheckError: when the study's file says another network than was trained, as after an option of the command line.
    """
    trainers: dict[str, ConfiguredTrainer] = {}
    with tempfile.TemporaryDirectory() as folder:
        try:
            for name, network in networks.items():
                settings = {**study.settings_of(name), "precision": precision}
                files = study.files_of(name)
                trainers[name] = ConfiguredTrainer(Path(folder) / name, options, False, files, **settings)
                said, trained = (count(each) for each in (trainers[name].network, network))
                require(said == trained, f"{name} has {said:,} weights in {study.name}, {trained:,} were trained")
            return interleave(trainers, options.repeats, options.device)
        finally:
            for trainer in trainers.values():
                trainer.close()


def time_networks(
    networks: Mapping[str, nn.Module], options: Options, size: int = 512, precision: str = "auto"
) -> dict[str, Timing]:
    """Seconds that each network takes for one image of ``size`` x ``size`` px, side by side through the inferer."""
    image = torch.rand(1, 1, size, size, generator=torch.Generator().manual_seed(options.seed)).to(options.device)
    calls = {name: overlap_tile(each.to(options.device), image, precision) for name, each in networks.items()}
    for name, call in calls.items():
        require(call().shape == (1, 2, size, size), f"{name} gives no map of two classes of {size} x {size} px")
    return interleave(calls, options.repeats, options.device, warm_up=False)


def count(network: nn.Module) -> int:
    """Number of weights."""
    return sum(parameter.numel() for parameter in network.parameters())


def table(
    study: Study,
    measured: pd.DataFrame,
    networks: Mapping[str, nn.Module],
    steps: Mapping[str, Timing],
    images: Mapping[str, Timing],
    size: int,
) -> Table:
    """A line for each variant, with its first tta: cost, then mean and standard deviation over repeats."""
    tta = study.tta[0]
    summaries = [each for each in summarise(study, repeats_of(study, measured)) if each.tta == tta]
    forms = formats_of(study, summaries)
    cells: dict[str, list[str]] = {}
    for variant, network in networks.items():
        values = {each.metric: each for each in summaries if each.variant == variant}
        cells[variant] = [
            study.variants[variant].label,
            f"{count(network):,}",
            digits(1000 * steps[variant].median),
            digits(steps[variant].ratio),
            digits(1000 * images[variant].median),
            digits(images[variant].ratio),
            str(max((each.n for each in values.values()), default=0)),
            *measured_cells(values, forms),
        ]
    columns = ["", "parameters", "ms a training step", "ratio", f"ms for {size} x {size} px", "ratio", "runs"]
    title = f"{study.title}, part {study.part}, tta {tta}: mean ± standard deviation over repeats"
    return Table(title, [*columns, *study.metrics.values()], list(cells.values()))


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; 0, or 2 when there is nothing to be timed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.network_table", description=__doc__.split("\n")[0])
    parser.add_argument("--study", type=Path, default=Path("configs/studies/networks.json"), help="(%(default)s)")
    parser.add_argument("--output_dir", type=Path, default=Path("runs"), help="folder of all runs (%(default)s)")
    parser.add_argument("--size", type=int, default=512, help="side of the image, px (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="(%(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="timed rounds (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the image (%(default)s)")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto", help="(%(default)s)")
    chosen = parser.parse_args(argv)
    for option in ("size", "threads", "repeats"):
        if getattr(chosen, option) < 1:
            parser.error(f"--{option} must be at least 1, got {getattr(chosen, option)}")
    set_threads(chosen.threads)
    try:
        paths = StudyPaths(chosen.study.stem, chosen.output_dir)
        study = with_recorded(read_study(chosen.study), paths)
        measured = read_values(paths.table)
        networks = networks_of(study, paths, measured)
        if not networks:
            raise ValueError(f"nothing has been measured on part {study.part} of study {study.name} yet")
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    options = Options(repeats=chosen.repeats, seed=chosen.seed)
    images = time_networks(networks, options, chosen.size, chosen.precision)
    steps = time_steps(study, networks, options, chosen.precision)
    precision = resolve_precision(chosen.precision, "cpu")
    text = (
        f"{table(study, measured, networks, steps, images, chosen.size)}\n\nTimes: {precision}, "
        f"{chosen.repeats} rounds side by side, {machine(chosen.threads)}; seed {chosen.seed}\n"
    )
    print(text)
    write_text(paths.folder / "networks.md", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The rounds: train on what is annotated, measure, score what is not, annotate the frames that come first."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose

from benchmarks.annotation_loop.plan import Film, Settings
from bundle import atomic
from bundle.console import own_cause
from bundle.data.loading import LoadSliced
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.inference.passes import disagreeing_passes, foreground_probability
from bundle.inference.uncertainty import border_score, epistemic_score, rank
from bundle.model import TrainedNetwork
from bundle.studies.commands import Command, RunFolder
from bundle.tracking import sqlite_uri
from transforms import Standardized

#: in the place of a strategy: the first round, which all strategies of a seed share
START = "start"
_CONFIG = "configs/train.json"


class Loop:
    """One film annotated again and again, from other frames and by other strategies.

    Every round trains for the same number of steps, from the network of the round before, as an annotation tool does:
    strategies are compared after equal steps on equally many frames. Only the frames annotated so far are given to a
    training, only the images of the pool to a score; the test is measured with the settings of ``configs/train.json``,
    and nothing is chosen by it.

    Args:
        settings: see :class:`benchmarks.annotation_loop.plan.Settings`.
        film: its frames.
        folder: takes the records, ``rounds/NAME.json``, and the trainings, ``runs/NAME``.
        call: runs a command line; what it prints goes to the file.
        say: prints a line.
    """

    def __init__(
        self,
        settings: Settings,
        film: Film,
        folder: Path,
        call: Callable[[list[str], Path], None],
        say: Callable[[str], Any] = print,
    ) -> None:
        self.settings = settings
        self.film = film
        self.folder = folder
        self.call = call
        self.say = say
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        # a fixed bound: tiles, and with them the masks of dropout, are not to depend on the memory that is free
        self.inferer = OverlapTileInferer(max_memory="2 GiB", precision="auto")
        self._images: dict[str, torch.Tensor] = {}

    def run(self, seed: int, strategies: Sequence[str], rounds: int) -> None:
        """All rounds of a seed; those with a record are not repeated. The strategies alternate."""
        first = self.round(seed, START, 0, self.film.start(self.settings.start, seed), before=None)
        last = dict.fromkeys(strategies, first)
        for number in range(1, rounds + 1):
            for strategy in strategies:
                earlier = last[strategy]
                last[strategy] = self.read(seed, strategy, number) or self.next(seed, strategy, number, earlier)

    def next(self, seed: int, strategy: str, number: int, earlier: dict[str, Any]) -> dict[str, Any]:
        """Annotate the frames that come first, and do the round with them."""
        begin = time.monotonic()
        scores = self.scores(seed, strategy, number, earlier)
        chosen = rank(scores)[: self.settings.add]
        more = {"scores": scores, "score_seconds": round(time.monotonic() - begin, 1)}
        return self.round(seed, strategy, number, [*earlier["frames"], *chosen], earlier["name"], more)

    def scores(self, seed: int, strategy: str, number: int, earlier: dict[str, Any]) -> dict[str, float]:
        """The score of every frame of the pool that is not annotated yet: its image alone is looked at."""
        left = [name for name in self.film.pool if name not in earlier["frames"]]
        if strategy == "random":
            return dict(zip(left, np.random.RandomState([seed, number]).rand(len(left)).tolist(), strict=True))
        network = TrainedNetwork(self.run_folder(earlier["name"]).model_file).load()
        network = network.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return {name: self.score(strategy, seed, network, self.image(name)) for name in left}

    def score(self, strategy: str, seed: int, network: torch.nn.Module, image: torch.Tensor) -> float:
        if strategy == "epistemic":
            return epistemic_score(disagreeing_passes(network, self.inferer, image, self.settings.passes, seed))
        return border_score(foreground_probability(network, self.inferer, image))

    def image(self, name: str) -> torch.Tensor:
        """1HW, as the network gets it; the item's label is not read."""
        if name not in self._images:
            load = Compose([LoadSliced(keys="image"), Standardized(keys="image")])
            self._images[name] = load({"image": self.film.pool[name]["image"]})["image"].as_tensor()
        return self._images[name].to(self.device)

    def round(
        self,
        seed: int,
        strategy: str,
        number: int,
        frames: list[str],
        before: str | None,
        more: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Train on the frames, measure, and write the record, unless it is there."""
        record = self.read(seed, strategy, number)
        if record is not None:
            return record
        name, begin = _name(seed, strategy, number), time.monotonic()
        if not self.run_folder(name).complete:
            self.call(self.training(name, seed, number, frames, before).words(), self.folder / "log.txt")
        seconds = round(time.monotonic() - begin, 1)
        record = {
            **{"name": name, "seed": seed, "strategy": strategy, "round": number, "frames": frames},
            "added": len(frames) if before is None else self.settings.add,
            **{"seg": self.measure(name), "train_seconds": seconds, **(more or {})},
        }
        atomic.write_json(self._record(name), record)
        added = ", ".join(frames[-record["added"] :])
        self.say(f"{name}: {len(frames)} frames (+ {added}), SEG {record['seg']:.4f}, {seconds:.0f} s")
        return record

    def training(self, name: str, seed: int, number: int, frames: list[str], before: str | None) -> Command:
        """The command that trains on these frames, from the network of the round ``before``, or goes on with it."""
        options = {
            **self._data("silver"),
            # the frames that are named, and no others
            **{"items#select": frames, "items#part": "selected", "items#fold": None, "items#folds": None},
            **{"validation": 0, "max_epochs": 1, "samples_per_epoch": self.settings.steps},
            **{"seed": 1000 * seed + number},
            **({} if before is None else {"pretrained": str(self.run_folder(before).model_file)}),
            **{"base_channels": self.settings.base_channels, "tile_size": self.settings.tile_size},
            **{"tracking_uri": sqlite_uri(self.folder), "experiment_name": "annotation-loop"},
            **{"tracker#artifacts": [], "tracker#tags": {"loop": name, "frames": " ".join(frames)}},
        }
        run = self.run_folder(name)
        return run.training(self._files(), options, resume=run.begun)

    def measure(self, name: str) -> float:
        """SEG on the frames of the test, as ``evaluating`` measures it; refused if one was trained on."""
        options = {
            **self._data(self.settings.truth),
            **self.settings.split,
            **{"part": "held_out", "checkpoint": str(self.run_folder(name).model_file), "best_by": "seg"},
        }
        parser = Command("evaluating", (*self._files(), "configs/evaluate.json"), options).parser()
        load = next(handler for handler in parser["validate"]["handlers"] if "LoadNetwork" in handler["_target_"])
        parser.update({"validate#handlers": [load], "validate#additional_metrics": None})
        try:
            evaluator = parser.get_parsed_content("validate#evaluator")
        except RuntimeError as error:  # of MONAI's chain of errors only the one that helps is kept
            raise ValueError(f"measuring {name}: {own_cause(error) or error}") from error
        evaluator.run()
        return float(evaluator.state.metrics["seg"])

    def run_folder(self, name: str) -> RunFolder:
        """Of a round's training."""
        return RunFolder(self.folder / "runs", name)

    def read(self, seed: int, strategy: str, number: int) -> dict[str, Any] | None:
        """The record of a round that is done."""
        file = self._record(_name(seed, strategy, number))
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None

    def records(self) -> list[dict[str, Any]]:
        """Of all rounds that are done."""
        return [json.loads(file.read_text(encoding="utf-8")) for file in sorted(self.folder.glob("rounds/*.json"))]

    def _record(self, name: str) -> Path:
        return self.folder / "rounds" / f"{name}.json"

    def _files(self) -> tuple[str, ...]:
        return (_CONFIG, *self.settings.config_files)

    def _data(self, labels: str) -> dict[str, Any]:
        place = {"dataset_dir": self.settings.dataset_dir, "layout": "ctc"}
        return place | {"labelled#sequences": [self.settings.sequence], "labelled#labels": labels}


def _name(seed: int, strategy: str, number: int) -> str:
    return f"s{seed}-{strategy}" if strategy == START else f"s{seed}-{strategy}-{number}"

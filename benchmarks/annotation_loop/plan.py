"""What the loop is run with, and which frames of the film it may see."""

from __future__ import annotations

import json
from dataclasses import MISSING, asdict, dataclass, field
from pathlib import Path
from typing import Any

from bundle import atomic
from bundle.data import ctc
from bundle.data.item import Item
from bundle.data.splits import split

#: how the next frames are chosen; the first is what the others are compared with
STRATEGIES = ("random", "epistemic", "border")
TRUTHS = ("silver", "gold")


def _option(help: str, default: Any = MISSING) -> Any:
    """A field that is an option of the command line, with its help there."""
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class Settings:
    """What must not change from one round to the next; ``config_files`` are overlays on ``configs/train.json``."""

    dataset_dir: str = _option("data set in the Cell Tracking Challenge's layout")
    sequence: str = _option("whose silver truth is the annotator", "01")
    truth: str = _option("the test's: silver, of every frame, or gold, of few, drawn by people", "silver")
    fold: int = _option("frames of this stretch of the film are the test; none of them can be annotated", 0)
    folds: int = _option("stretches of the film", 3)
    start: int = _option("frames annotated at first, drawn by seed", 2)
    add: int = _option("frames annotated in each further round", 1)
    steps: int = _option("of training, every round", 400)
    base_channels: int = _option("of the network", 8)
    tile_size: int = _option("px, of training", 444)
    passes: int = _option("for each epistemic score, with dropout or of the image turned", 8)
    config_files: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.truth not in TRUTHS:
            raise ValueError(f"truth must be one of {', '.join(TRUTHS)}, got {self.truth!r}")
        for name, least in {"start": 1, "add": 1, "steps": 1, "base_channels": 1, "passes": 2}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least} ({least} is the nearest), got {getattr(self, name)}")

    @property
    def split(self) -> dict[str, Any]:
        return {"fold": self.fold, "folds": self.folds, "blocks": True}


@dataclass(frozen=True)
class Film:
    """Frames by name.

    Attributes:
        pool: of the film but for one stretch, with silver truth: what can be annotated.
        test: names of that stretch's frames that have the test's truth: what is measured.
    """

    pool: dict[str, Item]
    test: tuple[str, ...]

    def start(self, count: int, seed: int) -> list[str]:
        """The frames annotated at first, spread over the pool; the seed draws them."""
        chosen = split(list(self.pool.values()), select=count, seed=seed, part="selected")
        return [item["name"] for item in chosen]


def read_film(settings: Settings, rounds: int) -> Film:
    """Find the frames of both parts.

    Raises:
        FileNotFoundError, ValueError: as :func:`bundle.data.ctc.datalist` and :func:`bundle.data.splits.split`, or when
            the pool is used up before the last round.
    """
    silver = ctc.datalist(settings.dataset_dir, [settings.sequence], labels="silver")
    truth = ctc.datalist(settings.dataset_dir, [settings.sequence], labels=settings.truth)
    pool = {item["name"]: item for item in split(silver, part="others", **settings.split)}
    needed = settings.start + settings.add * rounds
    if needed > len(pool):
        raise ValueError(
            f"{rounds} rounds of {settings.add} after {settings.start} need {needed} frames, the pool has {len(pool)}: "
            f"rounds can be {max(0, len(pool) - settings.start) // settings.add} at most"
        )
    return Film(pool, tuple(item["name"] for item in split(truth, part="selected", **settings.split)))


def keep_settings(path: Path, settings: Settings, film: Film) -> None:
    """Write down what the loop is run with, or check that it is what it was begun with.

    Raises:
        ValueError: naming what differs.
    """
    kept = json.loads(json.dumps(asdict(settings) | {"pool": list(film.pool), "test": film.test}))
    del kept["dataset_dir"]  # a folder may move
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        changed = [
            f"{name} {kept.get(name)} instead of {value}" for name, value in before.items() if kept[name] != value
        ]
        if changed:
            raise ValueError(
                f"{path.parent} was begun with other settings ({', '.join(changed)}): restore them, or choose another "
                "output_dir"
            )
    atomic.write_json(path, kept)

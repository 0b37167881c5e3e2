"""Command lines of the bundle: what a person would type for a training or an evaluation."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fire.parser import DefaultParseValue
from monai.bundle import ConfigParser


@dataclass(frozen=True)
class Command:
    """``python -m monai.bundle run RUN_ID --config_file FILES --option value ...``, not yet run."""

    run_id: str
    config_files: tuple[str, ...]
    options: Mapping[str, Any]

    def words(self, *launcher: str) -> list[str]:
        """The command line, of this Python unless a launcher is given."""
        start = launcher or (sys.executable, "-m", "monai.bundle", "run")
        files = self.config_files[0] if len(self.config_files) == 1 else argument(list(self.config_files))
        options = [word for name, value in self.options.items() for word in (f"--{name}", argument(value))]
        return [*start, self.run_id, "--config_file", files, *options]

    def parser(self) -> ConfigParser:
        """The config as ``monai.bundle run`` would have it."""
        parser = ConfigParser()
        parser.read_config(list(self.config_files))
        parser.update(dict(self.options))
        return parser


@dataclass(frozen=True)
class RunFolder:
    """Where one training leaves what it makes: in ``output_dir/name``."""

    output_dir: Path
    name: str

    @property
    def path(self) -> Path:
        return self.output_dir / self.name

    @property
    def model_file(self) -> Path:
        """Written when the training is complete, and only then."""
        return self.path / "model.pt"

    @property
    def checkpoint(self) -> Path:
        """The network that the training kept as its best."""
        return self.path / "best.pt"

    @property
    def begun(self) -> bool:
        return self.path.exists()

    @property
    def complete(self) -> bool:
        return self.model_file.is_file()

    def training(self, config_files: Iterable[str], options: Mapping[str, Any], resume: bool = False) -> Command:
        """The command of the training; with ``resume`` it goes on with what was begun."""
        own = {
            "output_dir": str(self.output_dir),
            "run_name": self.name,
            "model_file": str(self.model_file),  # in its own folder: nobody else's is replaced
            "publish": "always",
            **({"resume": True} if resume else {}),
        }
        return Command("training", tuple(config_files), {**options, **own})


def argument(value: Any) -> str:
    """A value as one word of the command line, from which ``fire`` reads the same value again.

    None becomes the expression ``$None``: MONAI leaves out an option whose value is None.
    """
    if value is None:
        return "$None"
    if isinstance(value, str) and not value.startswith("-") and DefaultParseValue(value) == value:
        return value
    text = json.dumps(value)  # its quotes need no others in a shell; but true and null are no words of Python
    return text if DefaultParseValue(text) == value else repr(value)


def overlap(one: str, other: str) -> bool:
    """Whether two entries of a config are the same, or one is within the other."""
    first, second = (f"{name.removeprefix('+').replace('::', '#')}#" for name in (one, other))
    return first.startswith(second) or second.startswith(first)

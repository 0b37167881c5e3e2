"""Where a study finds its data and leaves its runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bundle.studies.definition import Run

__all__ = ["Places"]


@dataclass(frozen=True)
class Places:
    """Folders and files of a study.

    Attributes:
        study: its name.
        output_dir: folder of all runs, as in a training; a run is in ``output_dir/<run name>``.
        dataset_dir: None takes what the config says.
        tracking_uri: None takes the store in ``output_dir``.
    """

    study: str
    output_dir: Path
    dataset_dir: str | None = None
    tracking_uri: str | None = None

    @property
    def folder(self) -> Path:
        """Of the study itself: tables, chart, logs."""
        return self.output_dir / self.study

    @property
    def table(self) -> Path:
        """Every value measured, from which all else of the report is made."""
        return self.folder / "study.csv"

    def log(self, run: Run) -> Path:
        """What the commands of a run printed."""
        return self.folder / "logs" / f"{run.name}.log"

    def record(self, run: Run) -> Path:
        """The settings with which a run was begun."""
        return self.folder / "records" / f"{run.name}.json"

    def run_dir(self, run: Run) -> Path:
        return self.output_dir / run.name

    def model_file(self, run: Run) -> Path:
        """Written when the training is complete, and only then."""
        return self.run_dir(run) / "model.pt"

    def evaluation_dir(self, run: Run, part: str, averaging: str) -> Path:
        return self.run_dir(run) / "evaluation" / f"{part}-{averaging}"

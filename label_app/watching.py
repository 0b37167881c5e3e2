"""What a training in the background is doing, and how it is asked to stop."""

from __future__ import annotations

import csv
import math
import signal
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
from fastapi import HTTPException
from monailabel.utils.async_tasks.task import AsyncTask
from monailabel.utils.async_tasks.utils import processes

from label_app.outcome import newest_of_runs

#: of a training that goes on
_AT_WORK = ("SUBMITTED", "RUNNING", "STOPPING")


class TrainingWatch:
    """Reads the record of the run in work, each line of it once.

    Args:
        bundle: folder of the bundle, with ``runs``.
    """

    def __init__(self, bundle: Path) -> None:
        self.bundle = bundle
        self._lock = threading.Lock()
        self._forget(None)

    def __call__(self) -> dict[str, Any]:
        """State of the last training since the server started.

        Returns:
            "state": "none", "submitted", "running", "stopping", "stopped", "done" or "error"; "message", the last line
            that it printed; "run", the name of its folder, or None; "epochs", of the request; "epoch" and "step", the
            last of the record; "loss", of each epoch so far, its mean; "validation", name -> values of the epochs.
        """
        task, _ = AsyncTask.status("train")
        if task is None:
            return {"state": "none", "message": "no training since the server started", "run": None}
        began = datetime.strptime(task["start_ts"], "%Y-%m-%d %H:%M:%S").timestamp()
        with self._lock:
            self._read(began)
            told = {
                "run": self._file.parent.name if self._file else None,
                "epoch": max(self._loss, default=0),
                "step": self._step,
                "loss": {epoch: total / count for epoch, (total, count) in self._loss.items()},
                "validation": {name: dict(values) for name, values in self._validation.items()},
            }
        epochs = task["request"].get("max_epochs", 50)
        return {"state": task["status"].lower(), "message": message_of(task), "epochs": epochs, **told}

    def _forget(self, file: Path | None) -> None:
        self._file, self._read_to, self._step = file, 0, 0
        self._loss: dict[int, tuple[float, int]] = {}
        self._validation: dict[str, dict[int, float]] = {}

    def _read(self, began: float) -> None:
        newest = newest_of_runs(self.bundle, "history.csv", began)
        if newest is None:
            self._forget(None)
            return
        if newest != self._file or newest.stat().st_size < self._read_to:  # a resumed run cuts its record
            self._forget(newest)
        with newest.open("rb") as stream:
            stream.seek(self._read_to)
            whole, newline, _ = stream.read().rpartition(b"\n")
        self._read_to += len(whole + newline)
        for row in csv.reader(whole.decode("utf-8", "replace").splitlines()):
            if len(row) == 5 and row[1].isdecimal() and row[2].isdecimal():
                self._note(int(row[1]), int(row[2]), row[3], float(row[4]))

    def _note(self, step: int, epoch: int, name: str, value: float) -> None:
        self._step = max(step, self._step)
        if not math.isfinite(value):
            return  # as SEG without any object: JSON has null for it, which is no value
        if name == "train/loss":
            total, count = self._loss.get(epoch, (0.0, 0))
            self._loss[epoch] = (total + value, count + 1)
        elif name.startswith("val/"):
            self._validation.setdefault(name.removeprefix("val/"), {})[epoch] = value


def stop_training() -> dict[str, Any]:
    """Let the training in work end its step, save it in ``last.pt`` and close its run.

    Returns:
        at once: its "state" is "stopping", then "stopped", or "done" where it was about to end.

    Raises:
        HTTPException: 409 where nothing is being trained, or on several GPUs, which MONAI Label can only kill.
    """
    task, _ = AsyncTask.status("train")
    at_work = next(iter(processes("train").items()), None)
    if task is None or at_work is None:
        raise HTTPException(409, "no training is running")
    number, process = at_work
    # of several that wait in turn, the one in work
    task = next(each for each in AsyncTask.status("train", all=True)[0] if each["id"] == number)
    if task["status"] != "STOPPING":  # a second signal would end it unsaved
        if any("torchrun" in " ".join(child.cmdline()) for child in psutil.Process(process.pid).children()):
            raise HTTPException(409, "a training on several GPUs can only be killed, unsaved: DELETE /train/")
        task["status"] = "STOPPING"
        process.send_signal(signal.SIGTERM)
        threading.Thread(target=_note_end, args=(task, process), daemon=True).start()
    return {"state": task["status"].lower()}


def _note_end(task: dict[str, Any], process: Any) -> None:
    """MONAI Label leaves a status that it does not know as it is."""
    code = process.wait()
    while "end_ts" not in task:
        time.sleep(0.05)
    ended = {0: "DONE", 128 + signal.SIGTERM: "STOPPED", -signal.SIGTERM: "STOPPED"}
    task["status"] = ended.get(code, "ERROR")


def message_of(task: dict[str, Any]) -> str:
    """The error that ended a training, else the last line that it printed."""
    lines = list(task.get("details", ()))
    errors = [line for line in lines if line.startswith("error: ")]
    if task["status"] == "ERROR" and errors:
        return errors[-1].removeprefix("error: ")
    return lines[-1] if lines else "it waits" if task["status"] in _AT_WORK else ""

"""The first line of a command says what is starting."""

import errno
import logging
import os
import sys
from pathlib import Path

import pytest

from bundle import console
from bundle.console import explain_errors, nearest_path, true_or_false


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--config_file", "configs/train.json"], "starting configs/train.json"),
        (["--config_file", "['a.json','b.json']", "--seed", "3"], "starting a.json + b.json with seed 3"),
        (["-q"], None),  # not a command of monai.bundle
    ],
)
def test_what_is_starting_is_said_in_one_line(monkeypatch, caplog, words, line):
    monkeypatch.setattr(sys, "argv", ["monai.bundle", "run", "training", *words])
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    with caplog.at_level(logging.INFO, "bundle.console"):
        explain_errors()
        explain_errors()  # of another entry of the config
    assert [record.message for record in caplog.records] == ([] if line is None else [line])


@pytest.mark.parametrize(("value", "expected"), [(True, True), ("true", True), ("False", False), (False, False)])
def test_true_or_false(value, expected):
    assert true_or_false(value, "resume") is expected


def test_a_misspelt_path_is_told_with_what_may_be_meant(tmp_path: Path) -> None:
    best = tmp_path / "runs" / "first" / "best.pt"
    best.parent.mkdir(parents=True)
    best.touch()
    for name in ("rnus/first/best.pt", "runs/frist/best.pt", "runs/first/bset.pt"):
        assert nearest_path(tmp_path / name) == best
    assert nearest_path(tmp_path / "runs" / "frist" / "other.txt") == best.parent  # as far as it goes
    assert nearest_path(tmp_path / "elsewhere" / "best.pt") is None
    assert nearest_path("") is None


def test_a_command_that_is_stopped_says_so_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt as error:
        console._hook(type(error), error, error.__traceback__)
    assert capsys.readouterr().err == "\nstopped by Ctrl-C\n"


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.EACCES, "error: /a/file cannot be read or written (Permission denied)"),
        (errno.ENOSPC, "error: /a/file cannot be read or written (No space left on device)"),
        (errno.ENOENT, None),  # of a file that was expected to be there, and so a defect
    ],
)
def test_a_file_that_the_system_refuses(number: int, told: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        try:
            raise OSError(number, os.strerror(number), "/a/file")
        except OSError as error:
            raise RuntimeError("Failed to instantiate component") from error
    except RuntimeError as error:
        console._hook(type(error), error, error.__traceback__)
    said = capsys.readouterr().err
    assert ("Traceback" in said) == (told is None)
    assert told is None or told in said.splitlines()

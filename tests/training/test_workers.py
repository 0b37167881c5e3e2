"""How many processes make samples."""

import os

import pytest

from bundle.training.workers import workers_for


@pytest.mark.parametrize(("cores", "expected"), [(1, 1), (2, 1), (4, 3), (64, 8)])
def test_one_core_is_left_to_the_training(monkeypatch, cores, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)))
    assert workers_for("cuda") == workers_for("cuda:1") == expected
    assert workers_for("cpu") == 0

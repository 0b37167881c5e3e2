"""The backends that are installed, and one that counts."""

from __future__ import annotations

import dataclasses

import pytest

from bundle.inference.backends import BACKENDS
from tests.inference.backends.cases import needs


@pytest.fixture(params=BACKENDS)
def backend(request) -> str:
    needs(request.param)
    return request.param


@pytest.fixture
def counted(monkeypatch):
    """A backend "counted" that computes with a copy of the network, and the list of what it was prepared for."""
    calls: list[tuple[int, ...]] = []

    def prepare(network, tile, precision):
        calls.append(tuple(tile.shape[2:]))
        return BACKENDS["eager"].prepare(network, tile, precision)

    monkeypatch.setitem(BACKENDS, "counted", dataclasses.replace(BACKENDS["compile"], prepare=prepare))
    return calls

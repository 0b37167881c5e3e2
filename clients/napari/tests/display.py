"""Whether a window can be opened here: it needs a display, and the libraries of Qt and OpenGL."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


def _reason() -> str:
    if not os.environ.get("DISPLAY"):
        return "napari needs a display: Xvfb"
    # in a process of its own, for Qt aborts it
    code = "from qtpy.QtWidgets import QApplication; QApplication([])"
    tried = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return f"Qt cannot open a window here: {tried.stderr.strip()[-300:]}" if tried.returncode else ""


#: why there is none, "" where there is one
NO_WINDOW = _reason()


def require_window() -> None:
    """Skip the module where there is none."""
    if NO_WINDOW:
        pytest.skip(NO_WINDOW, allow_module_level=True)

"""The store of the MONAI Label app, which is in an environment of its own (``make test-label`` makes it)."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.crash

PYTHON = os.environ.get("LABEL_PYTHON", str(ROOT / ".venv-label" / "bin" / "python"))


@pytest.mark.skipif(not Path(PYTHON).is_file(), reason=f"there is no {PYTHON}")
def test_a_label_is_the_old_or_the_new_one(tmp_path: Path) -> None:
    command = [PYTHON, "-m", "tests.crash.label_uploads", str(tmp_path), os.environ.get("CRASH_EVERY", "1")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"upload: {found['tried']} faults in {found['accesses']} accesses", flush=True)
    assert found["accesses"] > 15
    assert not found["wrong"], "\n".join(found["wrong"])

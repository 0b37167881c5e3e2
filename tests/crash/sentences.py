"""What a command says when it ends with an error."""

from __future__ import annotations

import re
from pathlib import Path


def require_one_sentence(said: str, folder: Path) -> str:
    """Check that the last thing said is one sentence that names a file in ``folder``, and return it."""
    assert "Traceback" not in said, said[-3000:]
    errors = re.findall(r"^error: .*$", said, re.M)
    assert len(errors) == 1, said[-3000:]
    assert str(folder) in errors[0], errors[0]
    assert ".part" not in errors[0], errors[0]
    assert said.rstrip().splitlines()[-2] == errors[0], said[-3000:]
    return str(errors[0])

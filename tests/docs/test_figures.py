"""The scripts that draw the pages' pictures."""

import re
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).resolve().parents[2] / "docs" / "figures").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_finds_the_code_it_draws_with(script):
    """Of a script Python knows the folder alone: the repository is added by drawing.py, or by the script itself."""
    text = script.read_text()
    ours = re.search(r"^from (bundle|transforms|benchmarks)\b", text, re.MULTILINE)
    added = re.search(r"^(from drawing import|sys\.path\.insert)", text, re.MULTILINE)
    assert ours is None or (added is not None and added.start() < ours.start())

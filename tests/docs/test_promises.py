"""The page of promises names tests that exist, and no promise is without one."""

from __future__ import annotations

import ast
import re

import pytest

from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "promises.md").read_text()


def promises(text: str) -> dict[str, list[str]]:
    """Promise -> the tests under it."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if promise := re.match(r"- \*\*(.+?)\*\*", line):
            tests = found[promise[1]] = []
        elif test := re.fullmatch(r" {4}- `(.+)`", line):
            tests.append(test[1])
    return found


def missing(test: str) -> str | None:
    """What of ``FILE::FUNCTION`` does not exist, or None."""
    file, _, function = test.partition("::")
    if not (ROOT / file).is_file():
        return file
    tree = ast.parse((ROOT / file).read_text())
    return None if function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)} else function


def test_each_promise_is_held_by_tests_that_exist():
    found = promises(PAGE)
    assert len(found) == PAGE.count("\n- ")
    assert [promise for promise, tests in found.items() if not tests] == []
    named = [test for tests in found.values() for test in tests]
    assert len(named) == PAGE.count("    - ")
    assert [test for test in named if missing(test)] == []


def test_the_page_of_sources_names_tests_and_configs_that_exist():
    text = (ROOT / "docs" / "sources.md").read_text()
    named = re.findall(r"`(tests/[^`]+::[^`]+)`", text)
    assert len(named) > 30
    assert [test for test in named if missing(test)] == []
    assert [file for file in re.findall(r"`(configs/[^`]+)`", text) if not (ROOT / file).is_file()] == []


@pytest.mark.parametrize(
    ("test", "what"),
    [
        ("tests/docs/test_promises.py::test_gone", "test_gone"),
        ("tests/gone.py::test_a", "tests/gone.py"),
        ("tests/docs/test_promises.py::missing", None),
        ("tests/docs/test_promises.py", ""),
    ],
)
def test_what_is_gone_is_noticed(test, what):
    assert missing(test) == what

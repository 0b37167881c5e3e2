"""What ``make quick`` hands to pytest: the tests of what changed since this branch left its upstream.

For a module they are its own (``tests/ROOM/test_NAME.py``, or what is nearest to that), those of any room that import
it, and its examples. Tests of the whole bundle, at the top of ``tests/``, are for ``make test``, as configs are.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: the latter two by themselves: make test-label, make test-crash
LEFT_OUT = {"conftest.py", "quick.py", "label", "crash"}


def changed() -> set[str]:
    """Files committed since the merge base, staged, unstaged, new or deleted."""
    since = _git("merge-base", "HEAD", "@{upstream}") or ["HEAD"]
    return {*_git("diff", "--name-only", since[0]), *_git("ls-files", "--others", "--exclude-standard")}


def tests_of(files: Iterable[str]) -> list[str]:
    """Paths for pytest, from the root, of files and folders that exist."""
    texts = {path.relative_to(ROOT): path.read_text("utf-8") for path in ROOT.glob("tests/*/**/test_*.py")}
    found: set[Path] = set()
    for path in map(Path, files):
        if path.suffix != ".py":
            continue
        if path.parts[0] == "tests":
            # a helper or fixture serves the tests beside it
            found.add(path if path.name.startswith("test_") or path.parent == Path("tests") else path.parent)
        elif path.parts[0] in ("bundle", "transforms", "label_app"):
            found |= _of_module(path, texts)
    names = {path for path in found if (ROOT / path).exists() and not LEFT_OUT & set(path.parts)}
    return sorted(str(path) for path in names if not names & set(path.parents))


def _of_module(path: Path, texts: dict[Path, str]) -> set[Path]:
    module = path.with_suffix("") if path.name != "__init__.py" else path.parent
    package, name = ".".join(module.parent.parts), module.name
    uses = re.compile(rf"\b{package}\.{name}\b(?!\.)|from {package} import [^\n]*\b{name}\b")
    found = {test for test, text in texts.items() if uses.search(text)}
    within = module.relative_to("bundle") if module.parts[0] == "bundle" else module
    for place in (within, *within.parents[:-1]):
        own = Path("tests") / place.parent / f"test_{place.name.strip('_')}.py"
        if (ROOT / own).is_file():
            found.add(own)
            break
    if not found and within.parent != Path():
        found = {Path("tests") / within.parent}
    has_examples = (ROOT / path).is_file() and ">>>" in (ROOT / path).read_text("utf-8")
    return found | ({path} if has_examples else set())


def _git(*command: str) -> list[str]:
    return subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True).stdout.splitlines()


if __name__ == "__main__":
    print(*tests_of(changed()))

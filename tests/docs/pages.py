"""The commands and snippets of the pages, in the order in which a reader meets them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from docs import hooks
from tests.conftest import ROOT

_FENCE = re.compile(r"^( *)(```+)(\w*)\n(.*?)^ *\2 *$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"(?<![`\w])`([^`]+)`(?!`)")
#: code within a sentence that is a command, and one that is an option
_COMMAND = re.compile(r"!?(?:python|pip|make|mlflow|curl|docker|torchrun|export|source) (?!\.\.\.)\S")
_OPTION = re.compile(r"--\w")


@dataclass(frozen=True)
class Snippet:
    """A command, a block of Python or JSON, or code within a sentence (language "inline")."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> dict[str, str]:
    """Name -> text: README.md, then the site in the order of its navigation, then all others but the history."""
    names = [
        "README.md",
        *(f"docs/{name}" for name in _names(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])),
    ]
    others = sorted(path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
    names = [name for name in dict.fromkeys([*names, *others]) if name != "CHANGELOG.md"]
    texts = {name: (ROOT / name).read_text() for name in names}
    texts["docs/configuration.md"] = texts["docs/configuration.md"].replace(hooks.PLACE, hooks.reference())
    return texts


def _names(entry: object) -> Iterator[str]:
    """The files of a navigation."""
    if isinstance(entry, str):
        yield entry
    for part in entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ():
        yield from _names(part)


def blocks(page: str, text: str) -> list[Snippet]:
    """What the fenced blocks hold: of bash each command, of another language the whole block."""
    found = []
    for fence in _FENCE.finditer(text):
        indent, _, language, content = fence.groups()
        line = text[: fence.start()].count("\n") + 2
        content = re.sub(f"^{indent}", "", content, flags=re.MULTILINE)
        if language != "bash":
            found.append(Snippet(page, line, language, content))
            continue
        commands = re.sub(r"\\\n", lambda _: "\0", content).split("\n")  # continued lines count
        for command in commands:
            if command.strip() and not command.lstrip().startswith("#"):
                found.append(Snippet(page, line, "bash", command.replace("\0", " ")))
            line += 1 + command.count("\0")
    return found


def spans(page: str, text: str) -> list[Snippet]:
    """All code within sentences and tables."""
    text = _FENCE.sub(lambda fence: "\n" * fence[0].count("\n"), text)
    return [
        Snippet(page, text[: span.start()].count("\n") + 1, "inline", " ".join(span[1].split()).replace("\\|", "|"))
        for span in _SPAN.finditer(text)
    ]


def mentioned(page: str, text: str) -> list[Snippet]:
    """Commands and options within sentences."""
    return [span for span in spans(page, text) if _COMMAND.match(span.text) or _OPTION.match(span.text)]


def words_of(command: str) -> list[str]:
    """The words of a command, as bash splits them."""
    command = f"set -f; printf '%s\\0' {command}"
    shown = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    return shown.stdout.split("\0")[:-1]

"""The configuration reference of the site: configs/*.json beside the descriptions of docs/configuration.toml.

MkDocs calls :func:`on_page_markdown` and :func:`on_page_content` for each page when it builds the site.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
#: the configs whose entries are described one by one; all others are overlays, whose changes are listed
CONFIGS = ("train", "inference", "evaluate")
FOLDERS = {
    "": "Overlays",
    "experiments": "Experiments",
    "networks": "Networks",
    "ablation": "Ablations",
    "packages": "Packages",
}
PLACE = "<!-- the reference is written here -->"


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    if page.parent is None:  # a page without neighbours needs no list of them
        page.meta.setdefault("hide", ["navigation"])
    return markdown.replace(PLACE, reference()) if page.file.src_uri == "configuration.md" else markdown


def on_page_content(html: str, **_: Any) -> str:
    """Sphinx roles of docstrings, ``:class:`X```, become plain code."""
    return re.sub(r":(?:class|func|meth|mod|data|attr):(?=<)", "", html)


def read(name: str) -> dict[str, Any]:
    return json.loads((ROOT / "configs" / f"{name}.json").read_text())


def descriptions() -> dict[str, dict[str, dict[str, list[str]]]]:
    """Config -> group -> entry -> its unit and its meaning."""
    return tomllib.loads((ROOT / "docs" / "configuration.toml").read_text())


def entry(config: dict[str, Any], name: str) -> Any:
    """The value of ``cells`` or ``cells#threshold``.

    Raises:
        KeyError: for a name that the config does not have.
    """
    if name in config:
        return config[name]
    found: Any = config
    for part in name.split("#"):
        found = found[part]
    return found


def shown(value: Any) -> str:
    """A value in one line: a component with its arguments, of a long list or mapping the names."""
    if isinstance(value, dict) and "_target_" in value:
        given = (f"{key}={shown(part)}" for key, part in value.items() if not key.startswith("_"))
        return f"{value['_target_'].rpartition('.')[2]}({', '.join(given)})"
    if isinstance(value, dict):
        return "{" + ", ".join(value) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(shown, value)) + "]"
    return value if isinstance(value, str) and value[:1] in ("$", "@", "%") else json.dumps(value)


def cell(text: str, limit: int = 110) -> str:
    """Code in a cell of a table; a long text ends with dots."""
    text = text if len(text) <= limit else text[: limit - 1] + "…"
    return "`" + text.replace("|", "\\|").replace("`", "'") + "`"


def code_in(description: str) -> str:
    """A description with the command at its end, if any, as code."""
    text, found, command = description.partition(": python -m ")
    return f"{text}:\n\n```bash\npython -m {command}\n```" if found else description.replace("torchrun", "`torchrun`")


def reference() -> str:
    return "\n".join([*(line for name in CONFIGS for line in _config(name)), *_overlays()])


def _config(name: str) -> Iterator[str]:
    config = read(name)
    yield from (f"## {name}.json", "", code_in(config["_desc_"]), "")
    for group, entries in descriptions()[name].items():
        yield from (f"### {group}" + f" {{ #{name}-{group.lower().replace(' ', '-')} }}", "")
        yield from ("| entry | unit | default | meaning |", "|---|---|---|---|")
        for key, (unit, meaning) in entries.items():
            yield f"| `{key}` | {unit} | {cell(shown(entry(config, key)))} | {meaning} |"
        yield ""
    changes = {key: value for key, value in config.items() if "#" in key}
    if changes:
        yield from (f"### Changes of train.json {{ #{name}-changes }}", "", *_changes(changes))


def _overlays() -> Iterator[str]:
    for folder, title in FOLDERS.items():
        yield from (f"## {title}", "")
        for path in sorted((ROOT / "configs" / folder).glob("*.json")):
            if folder or path.stem not in (*CONFIGS, "metadata"):
                yield from _overlay(json.loads(path.read_text()), path.relative_to(ROOT).as_posix())
    yield from ("## Studies", "")
    for path in sorted((ROOT / "configs" / "studies").glob("*.json")):
        yield from (f"### {path.relative_to(ROOT).as_posix()}", "", code_in(json.loads(path.read_text())["_desc_"]), "")


def _overlay(config: dict[str, Any], name: str) -> Iterator[str]:
    yield from (f"### {name}", "", code_in(config.pop("_desc_")), "", *_changes(config))


def _changes(config: dict[str, Any]) -> Iterator[str]:
    yield from ("| entry | becomes |", "|---|---|")
    yield from (f"| `{key}` | {cell(shown(value))} |" for key, value in config.items())
    yield ""

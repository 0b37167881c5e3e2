"""Every link, anchor and image of the pages exists, and tables end, on GitHub as well as in the site."""

import re
from pathlib import Path

import pytest
from markdown.extensions.toc import slugify

from tests.conftest import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")


def text_of(page: Path) -> str:
    """A page without its code, and with what it includes."""
    text = re.sub(r'^--8<-- "(.+)"$', lambda found: (ROOT / found[1]).read_text(), page.read_text(), flags=re.MULTILINE)
    return re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", text_of(page), flags=re.MULTILINE)
    if page.name == "configuration.md":  # written when the site is built
        from docs import hooks

        titles += re.findall(r"^#+ (.+)$", hooks.reference(), flags=re.MULTILINE)
    return {slugify(re.sub(r"[`*]", "", title), "-") for title in titles}


def broken(page: Path) -> list[str]:
    """The links of a page that lead nowhere."""
    found = []
    for target in LINK.findall(text_of(page)):
        name, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            found.append(target)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    assert broken(page) == []


def test_a_broken_link_is_found(tmp_path):
    (tmp_path / "there.md").write_text("# There\n")
    page = tmp_path / "page.md"
    page.write_text("[a](there.md#there) [b](there.md#gone) [c](gone.md) ![d](gone.png) [e](https://x.org/y)\n")
    assert broken(page) == ["there.md#gone", "gone.md", "gone.png"]


def run_on(text: str) -> list[str]:
    """The lines that stand right below a table, or a table right below them: they would become one."""
    pairs = zip(text.splitlines(), text.splitlines()[1:], strict=False)
    return [b for a, b in pairs if a.strip() and b.strip() and a.startswith("|") != b.startswith("|")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_tables_stand_apart(page):
    assert run_on(text_of(page)) == []


def test_a_line_below_a_table_is_found():
    assert run_on("text\n\n| a |\n|---|\n| b |\n\nmore\n") == []
    assert run_on("| a |\n|---|\n| b |\nmore\n") == ["more"]


def test_every_picture_is_shown():
    shown = {Path(target).name for page in PAGES for target in LINK.findall(page.read_text())}
    assert {picture.name for picture in (ROOT / "docs" / "images").iterdir()} - shown == set()


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120

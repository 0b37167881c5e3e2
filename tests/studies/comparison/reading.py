"""A page of the report, read back."""

from __future__ import annotations

import base64
import csv
import io
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

_VOID = {"meta", "img", "wbr", "br", "line"}


class _Tree(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.builder = ElementTree.TreeBuilder()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.builder.start(tag, {name: value or "" for name, value in attrs})
        if tag in _VOID:
            self.builder.end(tag)
        else:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.builder.start(tag, {name: value or "" for name, value in attrs})
        self.builder.end(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag  # every element is closed where it should be
        self.builder.end(tag)

    def handle_data(self, data):
        if self.open:
            self.builder.data(data)


def tree(page: Path) -> ElementTree.Element:
    parser = _Tree()
    parser.feed(page.read_text(encoding="utf-8"))
    assert not parser.open
    return parser.builder.close()


def text(element: ElementTree.Element) -> str:
    return " ".join("".join(element.itertext()).split())


def tables(page: Path) -> dict[str, list[dict[str, str]]]:
    """Title of a section -> its rows: column -> text, a best value with a star."""
    found = {}
    for section in tree(page).findall(".//section[@class='runs']"):
        head = [text(cell).rstrip(" ↓↑") for cell in section.findall(".//thead/tr")[-1]]
        rows = []
        for line in section.findall(".//tbody/tr"):
            cells = [text(c) + ("*" if c.find("strong[@class='best']") is not None else "") for c in line]
            rows.append(dict(zip(head, cells, strict=True)))
        title = section.find("h2")
        assert title is not None
        found[text(title)] = rows
    return found


def images(page: Path) -> dict[str, list[tuple[str, np.ndarray]]]:
    """Name of a shared image, in order -> caption and pixels of every picture."""
    return {
        article.attrib["data-image"]: [
            (text(figure.find("figcaption")), pixels(figure.find("img").attrib["src"]))  # type: ignore[arg-type, union-attr]
            for figure in article.findall(".//figure")
        ]
        for article in tree(page).findall(".//article")
    }


def pixels(uri: str) -> np.ndarray:
    kind, _, content = uri.partition(",")
    assert kind == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


def rows(page: Path) -> list[dict[str, str]]:
    with open(page.with_name("runs.csv"), newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))

"""The page of ``checking``: one HTML file with its pictures inside, which opens without a server."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bundle.atomic import write_text
from bundle.cells.strips import beside
from bundle.console import counted
from bundle.data.doctor import Finding, Sheet
from bundle.data.doctor.facts import common_um
from bundle.data.doctor.unlike import oddness
from bundle.data.item import Item
from bundle.data.same_image import oriented
from bundle.output.histogram import bars
from bundle.output.overlay import enlarged, overlay, reduced, reduction, shown_channels
from bundle.output.templates import data_uri, html_templates

#: pictures of images at most, and pairs of pictures of each finding
_MOST, _PAIRS = 48, 3
#: longer side of a picture, px; small images are enlarged. The first ones have more, to see objects of 10 px in
_SIDE, _FINE_SIDE, _FINE = 420, 960, 12
_QUALITY = 78
#: what to do with the advice, as docs/your_images.md says it
HOW = (
    "Leave the values of train.json alone at first: these are rules of thumb by the size of the objects in the images "
    "that train. If the result is not good enough, add the options, or put configs/planned.json behind "
    "configs/train.json, which takes depth, tile, border weight and gap by itself."
)
_WEIGHT = {"stop": 100.0, "warning": 10.0, "note": 0.0}


@dataclass
class CheckPage:
    """What the page shows.

    Attributes:
        source: folder of the data.
        facts: rows of the table.
        findings: the worst first.
        advice: option, value and reason.
        sheets: of all images that could be read.
        advised: which of them the advice follows from, in words; "" for all.
    """

    source: str
    facts: Sequence[tuple[str, str]]
    findings: Sequence[Finding]
    advice: Sequence[tuple[str, str, str]]
    sheets: Sequence[Sheet] = field(default_factory=list)
    advised: str = ""

    @property
    def level(self) -> str:
        """The worst: "stop", "warning" or "fine"."""
        levels = {finding.level for finding in self.findings}
        return next((level for level in ("stop", "warning") if level in levels), "fine")

    @property
    def verdict(self) -> str:
        count = sum(finding.level == "warning" for finding in self.findings)
        if self.level == "stop":
            return "not ready to train"
        return "ready to train" if not count else f"ready to train, after a look at {counted(count, 'point')}"


@dataclass
class _Picture:
    name: str
    caption: str
    level: str
    uri: str
    ratio: float  # width by height
    alt: str


def write_page(page: CheckPage, path: Path, read: Callable[[Item], Mapping[str, Any]]) -> None:
    """Draw the pictures and write the file.

    Args:
        page: what to show.
        path: of the file; its folder is made.
        read: as for :func:`bundle.data.doctor.measure`; the images that are shown are read again.

    Raises:
        OSError: when it cannot be written.
    """
    environment = html_templates("bundle.output")
    shown = _worst_first(page)[:_MOST]
    pictures = [
        _picture(sheet, page.findings, read, _FINE_SIDE if place < _FINE else _SIDE)
        for place, sheet in enumerate(shown)
    ]
    html = environment.get_template("check_page.html").render(
        page=page,
        title=Path(page.source).name or page.source,
        order="those of the findings first, then those most unlike the others"
        if any(finding.images for finding in page.findings)
        else "those most unlike the others first",
        pictures=pictures,
        detailed=_FINE,
        how=HOW,
        pairs=[_pairs(finding, page.sheets, read) if finding.repair else [] for finding in page.findings],
        bars=_bars(page.sheets),
        um=common_um(page.sheets),
    )
    write_text(path, html)


def _worst_first(page: CheckPage) -> list[Sheet]:
    """Images of the worst findings, then those that are most unlike the others."""
    odd = np.max([np.abs(score) for score in oddness(page.sheets).values()], axis=0) if page.sheets else []
    points = {sheet.name: float(score) / 100 for sheet, score in zip(page.sheets, odd, strict=True)}
    for finding in page.findings:
        for name in finding.images:
            if name in points:
                points[name] += _WEIGHT[finding.level] + 1
    return sorted(page.sheets, key=lambda sheet: -points[sheet.name])


def _picture(
    sheet: Sheet, findings: Sequence[Finding], read: Callable[[Item], Mapping[str, Any]], side: int
) -> _Picture:
    about = [finding for finding in findings if sheet.name in finding.images]
    told = counted(sheet.objects, "object")
    if sheet.objects:
        told += f", {np.median(sheet.diameters):.0f} px wide"
    titles = list(dict.fromkeys(finding.title.rstrip("?") for finding in about))
    level = next((finding.level for finding in about), "")
    image, label = _planes(read(sheet.item))
    alt = f"{sheet.name}, with outlines of {counted(sheet.objects, 'object')}"
    uri, ratio = _uri(image, label, side), label.shape[0] / label.shape[1]
    return _Picture(sheet.name, " · ".join([told, *titles]), level, uri, ratio, alt)


def _pairs(
    finding: Finding, sheets: Sequence[Sheet], read: Callable[[Item], Mapping[str, Any]]
) -> list[tuple[str, str, str, float]]:
    """Name, the label as it is, and as it would fit; width of both by height."""
    found = []
    by_name = {sheet.name: sheet for sheet in sheets}
    for name in finding.images[:_PAIRS]:
        image, label = _planes(read(by_name[name].item))
        part = _part(label) if "shift" in finding.repair else (slice(None), slice(None))
        both = (label, _repaired(label, finding.repair))
        before, after = (_uri(image[:, *part], each[part], _SIDE, fill=0, width=2) for each in both)
        wide, high = label[part].shape
        found.append((name, before, after, 2 * wide / high))
    return found


def _repaired(label: np.ndarray, repair: Mapping[str, Any]) -> np.ndarray:
    if "turn" in repair:
        return np.asarray(oriented(label)[repair["turn"]])
    moved = np.zeros_like(label)
    before, after = beside(label.shape, repair["shift"])
    moved[after] = label[before]
    return moved


def _part(label: np.ndarray) -> tuple[slice, slice]:
    """The quarter with most of the objects, where a shift can be seen."""
    half = [side // 2 for side in label.shape]
    quarters = [
        (slice(x, x + half[0]), slice(y, y + half[1]))
        for x in (0, label.shape[0] - half[0])
        for y in (0, label.shape[1] - half[1])
    ]
    return max(quarters, key=lambda quarter: int((label[quarter] > 0).sum()))


def _planes(loaded: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Image (C, x, y) and label (x, y); of a volume the middle slice."""
    image, label = np.asarray(loaded["image"]), np.asarray(loaded["label"])[0]
    if label.ndim == 3:
        image, label = (each[..., each.shape[-1] // 2] for each in (image, label))
    return image, label


def _uri(image: np.ndarray, label: np.ndarray, side: int, fill: float = 0.12, width: int | None = None) -> str:
    """The outlines on the image, as a picture within the page; without ``width`` on one pixel of the image."""
    # pictures have rows and columns
    factor = reduction(label.shape, side)
    small, cells = reduced(shown_channels(image.swapaxes(1, 2)), label.T, factor)
    zoom = max(1, side // max(cells.shape))
    drawn = overlay(enlarged(small, zoom), enlarged(cells, zoom), fill, width or min(zoom, 2))
    return data_uri(Image.fromarray(drawn), "JPEG", quality=_QUALITY, optimize=True)


def _bars(sheets: Sequence[Sheet]) -> dict[str, Any] | None:
    """Of the diameters of all objects, px, and how many of these are "cut" by an edge and left out."""
    found = np.concatenate([sheet.diameters for sheet in sheets if sheet.objects] or [np.zeros(0)])
    drawn = bars(found)
    return None if drawn is None else {**drawn, "cut": sum(sheet.objects for sheet in sheets) - len(found)}

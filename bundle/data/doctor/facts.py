"""The table of what a data set is like, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from bundle.console import counted
from bundle.data.doctor.sheet import Sheet
from bundle.data.spacing import agreed

Quartiles = tuple[float, float, float]


def quartiles(sheets: Sequence[Sheet]) -> Quartiles | None:
    """Of the equivalent diameters of all objects, px, without those that an image's edge cuts; None: no object."""
    found = [sheet.diameters for sheet in sheets if sheet.objects]
    if not found:
        return None
    low, middle, high = np.quantile(np.concatenate(found), [0.25, 0.5, 0.75]).tolist()
    return low, middle, high


def common_um(sheets: Iterable[Sheet]) -> tuple[float, ...] | None:
    """The size of a pixel that all files state, µm; None where one of them does not, or they differ by over 5 %."""
    return agreed((sheet.pixel_um for sheet in sheets), 0.05)


def facts(
    sheets: Sequence[Sheet], names: Sequence[str] | None = None, of_pixels: bool = False, images: int | None = None
) -> list[tuple[str, str]]:
    """Rows of the table: what, and how it is.

    Args:
        sheets: at least one.
        names: of the channels.
        of_pixels: the labels tell classes of pixels, whose regions have no numbers of their own.
        images: of the folder, slices of stacks counted; None: as many as there are sheets.
    """
    rows = [
        ("images", _files(sheets, len(sheets) if images is None else images)),
        ("size", _some([" x ".join(map(str, sheet.size)) for sheet in sheets], " px")),
        ("pixel type", _some([sheet.pixel_type for sheet in sheets])),
        ("channels", _some([str(sheet.channels) for sheet in sheets]) + (f" ({', '.join(names)})" if names else "")),
        ("pixel size", _pixel_size(sheets)),
    ]
    total = sum(sheet.objects for sheet in sheets)
    counts = sorted(sheet.objects for sheet in sheets)
    each = f", {counts[0]} to {counts[-1]} an image" if len(sheets) > 1 else ""
    rows.append(("regions" if of_pixels else "objects", f"{total}{each}"))
    size = quartiles(sheets)
    if size is not None:
        rows.append(("diameter", _diameter(size, common_um(sheets))))
        share = sum(sheet.foreground * sheet.annotated for sheet in sheets) / max(
            1e-9, sum(sheet.annotated for sheet in sheets)
        )
        rows.append(("covered by objects", f"{100 * share:.0f} % of the annotated pixels"))
        if not of_pixels:
            touching = sum(sheet.touching for sheet in sheets)
            rows.append(("touching another", f"{touching} of {total} objects ({100 * touching / total:.0f} %)"))
    left_out = np.mean([1 - sheet.annotated for sheet in sheets])
    if left_out > 0:
        rows.append(("not annotated", f"{100 * left_out:.1f} % of the pixels"))
    return rows


def _files(sheets: Sequence[Sheet], images: int) -> str:
    files = len({sheet.item["image"] for sheet in sheets})
    of, usable = ("", "") if len(sheets) == images else (f" of {images}", " usable")
    slices, where = ("", "") if files == len(sheets) else (" slices", f" in {counted(files, 'file')}")
    return f"{len(sheets)}{of}{slices}{usable}{where}"


def _some(texts: Sequence[str], unit: str = "") -> str:
    counts = Counter(texts).most_common()
    if len(counts) == 1:
        return counts[0][0] + unit
    told = ", ".join(f"{text}{unit} ({counted(count, 'image')})" for text, count in counts[:3])
    return told + (f", and {len(counts) - 3} others" if len(counts) > 3 else "")


def _pixel_size(sheets: Sequence[Sheet]) -> str:
    stated = [sheet.pixel_um for sheet in sheets]
    if not any(stated):
        return "the files do not state it"
    return _some(["not stated" if um is None else " x ".join(f"{each:.4g}" for each in um) + " µm" for um in stated])


def _diameter(size: Quartiles, um: tuple[float, ...] | None) -> str:
    low, middle, high = size
    told = f"{middle:.0f} px in the middle, half of them {low:.0f} to {high:.0f} px"
    if um is None or len(um) > 2 or not np.isclose(um[0], um[1], rtol=0.05):
        return told
    return f"{told}; {middle * um[0]:.3g} µm, half of them {low * um[0]:.3g} to {high * um[0]:.3g} µm"

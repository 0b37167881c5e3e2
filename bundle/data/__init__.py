"""From files to a MONAI datalist, its split, and the arrays that networks take.

A *datalist* is a list of :class:`bundle.data.item.Item`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bundle.console import nearest_path
from bundle.data import ctc, folder, isbi2012
from bundle.data.item import Item

__all__ = ["LAYOUTS", "Layout", "datalist"]


@dataclass(frozen=True)
class Layout:
    """One way to arrange a data set in its folder.

    Attributes:
        datalist: takes the folder and options of its own.
        recognises: whether a folder is of this kind, from the names in it.
        needs: what the folder holds, for messages.
    """

    datalist: Callable[..., list[Item]]
    recognises: Callable[[Path], bool]
    needs: str


#: asked in this order; "folder", which takes anything, comes last
LAYOUTS = {
    "isbi2012": Layout(isbi2012.datalist, isbi2012.recognises, "train-volume.tif and train-labels.tif"),
    "ctc": Layout(ctc.datalist, ctc.recognises, "NN/tTTT.tif with NN_GT/SEG or NN_ST/SEG/man_segTTT.tif"),
    "folder": Layout(folder.datalist, lambda root: True, "image/ and label/ with files of equal names"),
}


def datalist(root: str | os.PathLike[str], layout: str = "auto", **options: Any) -> list[Item]:
    """The labelled images of a data set.

    Args:
        root: its folder.
        layout: one of :data:`LAYOUTS`, or "auto" to recognise it.
        options: those of the layout, for instance ``image_dir`` of :func:`bundle.data.folder.datalist`.

    Returns:
        a datalist, in the order of the files.

    Raises:
        ValueError: for an unknown layout, and what the layout itself refuses.
        FileNotFoundError: when ``root`` is missing or empty, or lacks what the layout needs.
    """
    if layout != "auto" and layout not in LAYOUTS:
        raise ValueError(f"layout must be one of {', '.join(('auto', *LAYOUTS))}, got {layout!r}")
    understood = "; ".join(f"{name}: {known.needs}" for name, known in LAYOUTS.items())
    folder_of_data = Path(root) if root else None
    if folder_of_data is None or not folder_of_data.is_dir():
        near = nearest_path(folder_of_data) if folder_of_data else None
        meant = f"; did you mean {near}?" if near and near.is_dir() else ""
        raise FileNotFoundError(f"dataset_dir {str(root)!r} is no folder{meant}; layouts understood are {understood}")
    if not any(folder_of_data.iterdir()):
        raise FileNotFoundError(f"dataset_dir {str(root)!r} is empty; layouts understood are {understood}")
    if layout == "auto":
        layout = next(name for name, known in LAYOUTS.items() if known.recognises(folder_of_data))
    try:
        return LAYOUTS[layout].datalist(folder_of_data, **options)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}; layouts understood are {understood}") from error

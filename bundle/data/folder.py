"""A folder of images and a folder of labels, matched by file name: the layout most laboratories have already."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bundle.console import counted, listed, nearest_path
from bundle.data import isbi2012
from bundle.data.classes import CLASS_DIR
from bundle.data.errors import ImageError
from bundle.data.formats import EXTENSIONS, FOREIGN, composed, extension, natural_key, slice_count, spatial_shape, stem
from bundle.data.item import Item
from bundle.data.lonely import refuse, refuse_lonely
from bundle.data.regions import REGIONS, is_region_file, require_slices
from bundle.data.stores.ome_zarr import store_name, stores_in
from bundle.data.stores.window import open_whole
from bundle.data.windows import Window, window_of

logger = logging.getLogger(__name__)

#: folders of a data set
_KINDS = ("image", "label")


def datalist(
    root: str | os.PathLike[str],
    image_dir: str = "image",
    label_dir: str = "label",
    slices: bool = True,
) -> list[Item]:
    """The images of ``root/image_dir``, each with the label in ``root/label_dir`` of the same name.

    Extensions may differ: ``image/a.png`` and ``label/a.nii.gz`` belong together. Files of other kinds and hidden
    ones are passed over; images of kinds that are not read are named in the log. Order: by name, ``t9`` before ``t10``.
    Labels may be regions: ImageJ's ROI sets (.zip, .roi) and GeoJSON, see :mod:`bundle.data.regions`.
    A label ``slide [x=12000,y=8000,w=2048,h=2048].tif`` is that of this part of the image ``slide``, a store or a TIFF,
    which is read alone; there may be several. Where there is a folder ``class``, what it has of the same name, a class
    map or a table of instances and classes (CSV), goes with the label.

    Args:
        root: folder of the data set.
        image_dir, label_dir: folders in it.
        slices: pages of a TIFF stack and slices of a volume (along the last axis) become items of their own, with
            "slice"; otherwise a file is one item.

    Returns:
        dicts of "image", "label" (paths), "name" (unique) and, for one of several slices, "slice" (from 0); with
        classes "class_map" or "class_table", a path.

    Raises:
        FileNotFoundError: for a missing folder, or one without a readable file.
        ValueError: for images without label, labels without image, two files of the same name in one folder, or a
            label or class map with another number of slices than its image; for a class map and a table of one name.
            Within :func:`bundle.data.lonely.refused` an image without a label that fits, and a second file of one name,
            are no error.
    """
    root = Path(root)
    stores = {composed(store_name(store)): store for store in stores_in(root / image_dir)}
    pictures = _by_stem(root / image_dir, with_stores=bool(stores))
    _refuse_twins([(pictures[name], stores[name]) for name in sorted(pictures.keys() & stores.keys())])
    labels = _by_stem(root / label_dir, regions=True)
    pictures = _with_windows(pictures, stores, labels)
    refuse_lonely(pictures, labels, root / label_dir, root / image_dir)
    classes = _class_files(root / CLASS_DIR)
    items: list[Item] = []
    for name, picture in pictures.items():
        parts = pages(picture, slices)
        truth: Any = {"label": str(labels[name]), **classes.get(name, {})} if name in labels else {}
        try:
            if slices:
                _require_same_slices(truth, picture, len(parts))
        except ImageError as error:
            refuse(error)
            truth = {}
        named: Any = {"name": name} if window_of(picture) else {}
        items += [{**part, **named, **truth} for part in parts]
    return _unique(items)


def _require_same_slices(truth: Mapping[str, Any], picture: Path, count: int) -> None:
    for file in (truth[key] for key in ("label", "class_map") if key in truth):
        if is_region_file(file):
            require_slices(file, count)
        elif count != (own := slice_count(file)):
            size = " x ".join(map(str, spatial_shape(picture)[:2]))
            told = f"it has {counted(own, 'slice')}, its image {picture} has {count} of {size} px: each of these"
            raise ImageError(file, f"{told} needs a slice here, all -1 where nobody annotated it")


def _with_windows(pictures: dict[str, Path], stores: Mapping[str, Path], labels: Iterable[str]) -> dict[str, Path]:
    """Images by name; where labels are of parts of a large one, these parts instead of it."""
    slides = {**pictures, **stores}
    parts = {name: window for name in labels if (window := window_of(name)) is not None and window.file in slides}
    whole = {name: file for name, file in slides.items() if name not in {window.file for window in parts.values()}}
    for name in whole.keys() & stores.keys() & set(labels):
        whole[name] = Path(Window(name, 0, 0, *open_whole(str(stores[name])).size).within(stores[name]))
    return whole | {name: Path(window.within(slides[window.file])) for name, window in parts.items()}


def _class_files(folder: Path) -> dict[str, Item]:
    """The class map or the table of each label, by name."""
    found: dict[str, Item] = {}
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        table = file.suffix.lower() == ".csv" and not file.name.startswith(".")
        if not table and extension(file) is None:
            continue
        name = composed(file.stem) if table else stem(file)
        if name in found:
            raise ValueError(f"{folder} holds two files of the name {name!r}, {file.name} is one of them: remove one")
        found[name] = {"class_table": str(file)} if table else {"class_map": str(file)}  # type: ignore[typeddict-item]
    return found


def images(path: str | os.PathLike[str], slices: bool = True, stores: bool = False) -> list[Item]:
    """Images to segment: one file, the files in a folder, or those in its folder ``image``.

    Args:
        path: file or folder; of one of ISBI 2012 the labels are passed over.
        slices: see :func:`datalist`.
        stores: somebody else reads the Zarr stores of the folder, so that they are not named as unreadable.

    Returns:
        as :func:`datalist`, without "label"; where two files give one name, it is not unique.

    Raises:
        FileNotFoundError: when there is nothing readable.
        ValueError: for a file of an unknown kind.
    """
    path = Path(path)
    if path.is_file():
        if extension(path) is None:
            raise ImageError(path, f"its extension is none of {', '.join(EXTENSIONS)}")
        return pages(path, slices)
    if path.parent.is_dir() and not path.exists() and any(_readable(path.parent)):  # a file of a folder of images
        near = nearest_path(path)
        meant = f"did you mean {near}?" if near else f"{path.parent} holds images: give this folder, or one of them"
        raise FileNotFoundError(f"dataset_dir: {path} does not exist; {meant}")
    here = path.is_dir() and any(_readable(path))
    files = _files(path if here or not (path / "image").is_dir() else path / "image", (".zarr",) if stores else ())
    files = [file for file in files if not isbi2012.holds_labels(file)]
    return [part for file in files for part in pages(file, slices)]


def pages(file: Path, slices: bool = True) -> list[Item]:
    """One item for each slice of a file, or one for all of them; a file of a single one has no "slice".

    A file whose header cannot be read counts as one image: reading it will say what is wrong, and with inference
    the others still go on.
    """
    try:
        count = slice_count(file) if slices else 1
    except ImageError:
        count = 1
    if count == 1:
        return [{"image": str(file), "name": stem(file)}]
    digits = len(str(count - 1))
    return [{"image": str(file), "name": f"{stem(file)}-{i:0{digits}d}", "slice": i} for i in range(count)]


def _readable(folder: Path, regions: bool = False) -> Iterable[Path]:
    # a link to nothing is kept, so that whoever reads it says so
    return (
        file
        for file in folder.iterdir()
        if (extension(file) is not None or (regions and is_region_file(file)))
        and (file.is_file() or (file.is_symlink() and not file.exists()))
    )


def _instead_of(folder: Path) -> str:
    """What may be meant instead of a folder that is missing, or what to do."""
    near = nearest_path(folder)
    if near is not None and near.is_dir():
        return f"; did you mean {near}?"
    if not folder.parent.is_dir():
        return ""
    if folder.parent.name in _KINDS and all((folder.parents[1] / kind).is_dir() for kind in _KINDS):
        return f"; did you mean {folder.parents[1]}?"
    if any(_readable(folder.parent)):
        return (
            f"; {folder.parent} itself holds images: move them into {folder.parent / 'image'}, and labels of the same "
            f"names into {folder.parent / 'label'}"
        )
    beside = sorted((each.name for each in folder.parent.iterdir() if each.is_dir()), key=natural_key)
    return f"; {folder.parent} has {', '.join(beside[:9])}" if beside else ""


def _within(folder: Path) -> str:
    """What to do about images that lie one folder deeper."""
    folders = [each for each in folder.iterdir() if each.is_dir() and os.access(each, os.R_OK)]
    within = [each.name for each in folders if any(_readable(each))]
    if not within:
        return ""
    return f"; those in {listed(sorted(within, key=natural_key))} are not looked for: put all into {folder} itself"


def _files(folder: Path, read_by_others: Sequence[str] = (), regions: bool = False) -> list[Path]:
    """Readable files of a folder in natural order; those of kinds that are not read are named in the log."""
    if not folder.is_dir():
        raise FileNotFoundError(f"dataset_dir: there is no folder {folder}{_instead_of(folder)}")
    files = sorted(_readable(folder, regions), key=natural_key)
    unread = set(FOREIGN) - set(read_by_others)
    foreign = sorted((file.name for file in folder.iterdir() if file.suffix.lower() in unread), key=natural_key)
    shown = listed(foreign, 5)
    advice = "save them as TIFF (Fiji: File > Save As)"
    if not files:
        hint = f"; {shown} must be converted: {advice}" if foreign else _within(folder)
        raise FileNotFoundError(
            f"{folder} holds no image; readable are {', '.join((*EXTENSIONS, *(REGIONS if regions else ())))}{hint}"
        )
    if foreign:
        logger.warning("%s: %d files are of kinds that are not read: %s; %s", folder, len(foreign), shown, advice)
    return files


def _by_stem(folder: Path, with_stores: bool = False, regions: bool = False) -> dict[str, Path]:
    """Readable files of a folder in natural order, by name without extension; beside stores there may be none.

    ``regions`` count where they are asked for.
    """
    found: dict[str, Path] = {}
    twins: list[tuple[Path, Path]] = []
    for file in _files(folder, (".zarr",), regions) if not with_stores or any(_readable(folder)) else ():
        earlier = found.setdefault(composed(file.stem) if is_region_file(file) else stem(file), file)
        if earlier is not file:
            twins.append((earlier, file))
    _refuse_twins(twins)
    return found


def _refuse_twins(twins: Sequence[tuple[Path, Path]]) -> None:
    """Where a check goes on all the same, the first of each two is the one that counts."""
    if twins:
        names = listed([f"{one.name} and {other.name}" for one, other in twins], 3)
        refuse(
            ValueError(
                f"{twins[0][0].parent} holds two files of one name, {names}, so that it is open which "
                "belongs to the one of this name in the other folder: remove or rename one"
            )
        )


def _unique(items: list[Item]) -> list[Item]:
    """Names tell results apart; a file ``a-1`` beside a stack ``a`` would not."""
    seen: dict[str, Item] = {}
    for item in items:
        earlier = seen.setdefault(item["name"], item)
        if earlier is not item:
            raise ValueError(f"{earlier['image']} and {item['image']} both give the name {item['name']}: rename one")
    return items

"""Image sequences of the Cell Tracking Challenge in 2D, with their gold or silver segmentation truth.

Source: Maška et al. 2023 and http://celltrackingchallenge.net/datasets; the layout is that of its training data::

    01/t002.tif                     image
    01_GT/SEG/man_seg002.tif        gold: outlines drawn by experts, of few frames and not of every cell in them
    01_GT/TRA/man_track002.tif      markers: every cell that a person saw, mostly as a disc inside it
    01_ST/SEG/man_seg002.tif        silver: outlines that several good methods agree on

What gold leaves out is not background. Markers and silver are the evidence of it, and
:class:`transforms.labels.partial.IgnoreUnannotated` makes of it the pixels that nobody annotated.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bundle.data.errors import ImageError
from bundle.data.formats import spatial_shape, stem
from bundle.data.item import FILES, Item
from bundle.data.readers import read_image

#: how file names begin, before the number of the frame in three or four digits
IMAGE, SEGMENTATION, TRACKING, RESULT = "t", "man_seg", "man_track", "mask"
#: where each kind of truth is, after the sequence's number, and how its files begin
_TRUTH = {
    "gold": ("_GT/SEG", SEGMENTATION),
    "silver": ("_ST/SEG", SEGMENTATION),
    "markers": ("_GT/TRA", TRACKING),
}
_LABELS = ("gold", "silver", "auto")
#: for each kind of evidence what items may carry
_CARRIED: Mapping[str, tuple[str, ...]] = {
    "none": (),
    "markers": ("markers",),
    "silver": ("silver", "markers"),
    "auto": ("silver", "markers"),
}


def recognises(root: Path) -> bool:
    """Whether ``root`` holds a sequence ``NN`` and, beside it, its ``NN_GT`` or ``NN_ST``."""
    return any((root / f"{name}{kind}").is_dir() for name in _found(root) for kind in ("_GT", "_ST"))


def datalist(
    root: str | os.PathLike[str],
    sequences: Sequence[str] | None = None,
    labels: str = "gold",
    evidence: str = "auto",
    slices: bool = True,
) -> list[Item]:
    """The frames with segmentation truth, named ``01-002``: sequence and frame.

    Args:
        root: folder of the data set, the one that holds ``01`` and ``01_GT``.
        sequences: their names, as ``["01"]``; None for all that have truth of the kind asked for.
        labels: "gold": frames with a gold segmentation. "silver": frames with a silver one, which then is the label
            and needs no evidence. "auto": silver for a sequence that has it, else gold.
        evidence: how items tell of cells that gold does not segment. "none": not at all, so that they count as
            background. "markers": by "markers". "silver": by "silver" and, where there are markers, by these too.
            "auto": by whatever of both there is for the frame.
        slices: volumes, False, are refused: only the challenge's 2D data sets are read.

    Returns:
        dicts of "image", "label" (paths), "name", "relative_time" (place in its film, 0 to below 1, for
        :func:`bundle.data.splits.split`) and, with evidence, "silver", "markers" (paths).

    Raises:
        FileNotFoundError: when there is no sequence, no frame with truth, or not the evidence asked for.
        ValueError: for other arguments than these, truth without its image, two files of one frame, a frame
            number of less than 3 digits, 3D data, sizes that differ within a frame, or truth without any object.
    """
    if not slices:
        raise ValueError("layout ctc gives no volumes: put them into image/ and label/, one file a volume")
    if labels not in _LABELS:
        raise ValueError(f"labels must be one of {', '.join(_LABELS)}, got {labels!r}")
    if evidence not in _CARRIED:
        raise ValueError(f"evidence must be one of {', '.join(_CARRIED)}, got {evidence!r}")
    if labels == "silver" and evidence not in ("none", "auto"):
        raise ValueError(f"evidence is for labels='gold'; with labels='silver' it must be 'none', got {evidence!r}")
    root = Path(root)
    items = []
    for name in _chosen(root, sequences):
        kind = labels
        if labels == "auto":
            kind = "silver" if frames_in(_folder(root, name, "silver"), SEGMENTATION) else "gold"
        frames = _frames(root, name, kind, evidence if kind == "gold" else "none")
        if not frames and sequences is not None:
            raise FileNotFoundError(f"{root} has no {kind} segmentation of sequence {name}: {_pattern(name, kind)}")
        items += frames
    if not items:
        kind = "gold" if labels == "auto" else labels
        raise FileNotFoundError(f"{root} has no frame with a {kind} segmentation: {_pattern('NN', kind)}")
    if not any(_holds_object(item["label"]) for item in items):
        raise ValueError(f"{root}: none of its {len(items)} {labels} segmentations holds an object")
    return items


def _found(root: Path) -> list[str]:
    """Names of the sequences in ``root``."""
    return sorted(path.name for path in root.iterdir() if re.fullmatch(r"\d\d", path.name) and path.is_dir())


def _chosen(root: Path, sequences: Sequence[str] | None) -> list[str]:
    found = _found(root) if root.is_dir() else []
    if not found:
        near = [child for child in sorted(root.iterdir()) if child.is_dir() and _found(child)] if root.is_dir() else []
        hint = f"; {near[0]} has: give that" if near else ""
        raise FileNotFoundError(f"{root} has no folder of a sequence, as 01{hint}")
    if sequences is None:
        return found
    if isinstance(sequences, str) or not sequences:
        raise ValueError(f"sequences must be a list of names, as {found[:1]}, or None for all, got {sequences!r}")
    unknown = [repr(name) for name in sequences if name not in found]
    if unknown:
        raise ValueError(f"sequences must be among {', '.join(found)}, got {', '.join(unknown)}")
    return [name for name in found if name in sequences]


def _frames(root: Path, sequence: str, labels: str, evidence: str) -> list[Item]:
    images = frames_in(root / sequence, IMAGE)
    kinds = {kind: frames_in(_folder(root, sequence, kind), _TRUTH[kind][1]) for kind in (labels, *_CARRIED[evidence])}
    for files in kinds.values():
        for number in files.keys() - images.keys():
            raise ValueError(f"{files[number]}: frame {number} has no image in {root / sequence}")
    order = {number: place for place, number in enumerate(images)}
    items = []
    for number, label in kinds.pop(labels).items():
        image = images[number]
        item: Item = {
            "image": str(image),
            "label": str(label),
            "name": f"{sequence}-{stem(image)[len(IMAGE) :]}",
            "relative_time": order[number] / len(images),
        }
        for kind, files in kinds.items():
            if number in files:
                item[kind] = str(files[number])  # type: ignore[literal-required]
            elif kind == evidence:
                raise FileNotFoundError(
                    f"evidence={evidence!r}, but frame {number} has none: {_pattern(sequence, kind)} in {root}; "
                    "'auto' takes what there is"
                )
        _require_one_size(item)
        items.append(item)
    return items


def _folder(root: Path, sequence: str, kind: str) -> Path:
    return root / f"{sequence}{_TRUTH[kind][0]}"


def _pattern(sequence: str, kind: str) -> str:
    folder, prefix = _TRUTH[kind]
    return f"there is no {sequence}{folder}/{prefix}TTT.tif"


def _require_one_size(item: Item) -> None:
    size = spatial_shape(item["image"])
    if len(size) != 2:
        raise ImageError(item["image"], f"it is 3D, (x, y, z) {size}: only the challenge's 2D data sets are read")
    for key in FILES:
        if key in item and spatial_shape(item[key]) != size:
            raise ImageError(
                item[key], f"its size (x, y) is {spatial_shape(item[key])}, that of its image {item['image']} {size}"
            )


def _holds_object(path: str) -> bool:
    return bool((read_image(path, np.dtype(np.float32)) > 0).any())


def frames_in(folder: str | os.PathLike[str], prefix: str) -> dict[int, Path]:
    """The files ``<prefix>TTT.tif`` of a folder by the number of their frame, in its order.

    Files whose names begin otherwise are left out. A name that begins so and ends differently is refused: a frame
    left out because of a misspelt name would be noticed by nobody.

    ``.tiff`` and capitals of the extension are understood, too; a folder that does not exist has none.

    Raises:
        ValueError: for a number that has not 3 or 4 digits, a slice of a 3D segmentation, or two files of one frame.
    """
    folder = Path(folder)
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        match = re.fullmatch(rf"{prefix}(_?\d.*)\.tiff?", path.name, flags=re.IGNORECASE)
        if match is None:
            continue
        if re.fullmatch(r"_\d+_\d+", match[1]):
            raise ValueError(f"{path} is one slice of a 3D segmentation: only the challenge's 2D data sets are read")
        if not re.fullmatch(r"\d{3,4}", match[1]):
            raise ValueError(f"{path}: the number of its frame must have 3 or 4 digits, as {prefix}002.tif")
        earlier = found.setdefault(int(match[1]), path)
        if earlier is not path:
            raise ValueError(f"{earlier} and {path.name} are both frame {int(match[1])}: remove one")
    return dict(sorted(found.items()))

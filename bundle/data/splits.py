"""Which items train and which validate: by seed or by name, spread over the whole series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise

import numpy as np

from bundle.console import counted, listed
from bundle.data.item import Item
from bundle.data.ranges import cut_ranges, range_hint

_PARTS = ("selected", "others", "all")
#: characters of names that are told
_TOLD = 150


def split(
    items: Sequence[Item],
    select: float | int | Sequence[str] = 0.2,
    seed: int = 0,
    part: str = "others",
    fold: int | None = None,
    folds: int | None = None,
    blocks: bool = False,
    name: str = "select",
) -> list[Item]:
    """One part of a datalist; every item is in exactly one of "selected" and "others".

    Drawn items are spread over the series, one from each of as many equal stretches as there are to draw: never a
    block. A stack is no row of independent images (in ISBI 2012, slices 0-14 and 15-29 differ in noise), and a
    block would select of one half only.

    Args:
        items: datalist in the order of the files.
        select: fraction in [0, 1) (float), number of items (int), or the names of the items; 0 for none. Not used
            with ``fold``. "NAME:12-13" are slices of a volume, which then is several items, see
            :func:`bundle.data.ranges.cut_ranges`.
        seed: the same seed draws the same items; call with the same one for both parts.
        part: "selected", "others" or "all".
        fold, folds: for cross-validation, fold 0 .. folds - 1 is selected. None: the split is that of ``select``.
        blocks: folds are stretches of time, for frames of a film, which are nearly the same as their neighbours:
            spread over the series, each of them would have been seen in training. Where items have a "relative_time",
            0 (first frame of the film) to below 1, fold k is the times from k / folds to (k + 1) / folds, so that
            truths of different frames (gold, silver) are cut at the same places; else stretches of equal length.
        name: of ``select`` in messages: the option that it was given by.

    Returns:
        the items of that part, in the order of ``items``.

    Raises:
        ValueError: for values out of range, unknown names, or a split that leaves nothing to train on.
    """
    if part not in _PARTS:
        raise ValueError(f"part must be one of {', '.join(_PARTS)}, got {part!r}")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise ValueError(f"seed must be an integer of 0 to 2^32 - 1, got {seed!r}")
    if not isinstance(blocks, bool):  # "false" of a command line would count as true
        raise ValueError(f"blocks must be True or False, got {blocks!r}")
    if fold is not None or folds is not None:
        chosen = _fold(items, seed, fold, folds, blocks)
    elif isinstance(select, (int, float)) and not isinstance(select, bool):
        chosen = _draw(len(items), _count(items, select, name), seed)
    elif isinstance(select, Sequence) and not isinstance(select, str):
        cut, select = cut_ranges(items, select, name)
        items = items if part == "all" else cut
        chosen = _named(cut, select, name)
    else:
        raise ValueError(f"{name} must be a fraction, a number of items or a list of names, got {select!r}")
    if part == "all":
        return list(items)
    return [item for position, item in enumerate(items) if (position in chosen) == (part == "selected")]


def pick(parts: Mapping[str, Sequence[Item]], part: str) -> list[Item]:
    """The datalist of a part by its name, for an evaluation.

    Raises:
        ValueError: for an unknown name, or a part without items.
    """
    if part not in parts:
        raise ValueError(f"part must be one of {', '.join(parts)}, got {part!r}")
    if not parts[part]:
        raise ValueError(
            f"part {part!r} has no images: give --{part} a number, a fraction or a list of names, as in training "
            "(the card of the network has them)"
        )
    return list(parts[part])


def split_told(training: Sequence[Item], validation: Sequence[Item]) -> str:
    """How many images train, and which validate, for a person; of many or long names the first ones.

    >>> split_told([{"image": "a.tif", "name": "a"}], [{"image": f"{n}.tif", "name": n} for n in "bc"])
    '1 image trains, 2 validate: b, c'
    """
    names = [item["name"] for item in validation]
    most = sum(end <= _TOLD for end in accumulate(len(name) + 2 for name in names))
    train = f"{counted(len(training), 'image')} train{'s' if len(training) == 1 else ''}"
    validate = f"{len(names)} validate{'s' if len(names) == 1 else ''}"
    return f"{train}, {validate}{': ' if names else ''}{listed(names, max(1, most))}"


def _count(items: Sequence[Item], select: float | int, name: str) -> int:
    """How many items are selected; a fraction above 0 gives at least one, and leaves at least one to train on."""
    n = len(items)
    if isinstance(select, int):
        if select and not 0 < select < n:
            raise ValueError(f"{name} must be 0 to {max(0, n - 1)} of {n} items, got {select}")
        return select
    if not 0 <= select < 1:
        raise ValueError(f"{name} must be at least 0 and below 1 as a fraction, got {select}")
    if select and n < 2:
        raise ValueError(
            f"--{name} {select} needs at least 2 images, got {n}: annotate more, or --{name} 0 trains on all"
            f"{range_hint(items, name)}"
        )
    return min(n - 1, max(1, round(select * n))) if select else 0


def _draw(n: int, count: int, seed: int) -> set[int]:
    """One position from each of ``count`` stretches of nearly equal length."""
    random = np.random.RandomState(seed)
    ends = [stretch * n // count for stretch in range(count + 1)] if count else []
    return {int(random.randint(start, stop)) for start, stop in pairwise(ends)}


def _named(items: Sequence[Item], names: Sequence[str], name: str) -> set[int]:
    positions = {item["name"]: position for position, item in enumerate(items)}
    unknown = [str(each) for each in names if each not in positions]
    if unknown:
        raise ValueError(
            f"{name} names {len(unknown)} unknown items: {', '.join(unknown[:5])}; "
            f"the {len(items)} names begin with {', '.join(list(positions)[:5])}"
        )
    if items and len(set(names)) == len(items):
        raise ValueError(f"{name} names all {len(items)} items: none is left to train on")
    return {positions[each] for each in names}


def _fold(items: Sequence[Item], seed: int, fold: int | None, folds: int | None, blocks: bool) -> set[int]:
    """Positions of one fold: a block, or one by seed from each stretch of ``folds`` items."""
    n = len(items)
    if fold is None or folds is None:
        raise ValueError(f"fold and folds go together, got fold {fold} and folds {folds}")
    if not 2 <= folds <= n:
        raise ValueError(f"folds must be 2 to the number of items, {n}, got {folds}")
    if not 0 <= fold < folds:
        raise ValueError(f"fold must be 0 to {folds - 1} with {folds} folds, got {fold}")
    if blocks and all("relative_time" in item for item in items):
        chosen = {position for position, item in enumerate(items) if int(item["relative_time"] * folds + 1e-9) == fold}
        if not 0 < len(chosen) < n:
            raise ValueError(
                f"fold {fold} of {folds} stretches of time has {'no' if not chosen else 'every'} frame with a label: "
                "choose fewer folds, or another fold"
            )
        return chosen
    if blocks:
        return set(range(fold * n // folds, (fold + 1) * n // folds))
    random = np.random.RandomState(seed)
    of_position = np.concatenate([random.permutation(folds) for _ in range(-(-n // folds))])[:n]
    return set(np.flatnonzero(of_position == fold).tolist())

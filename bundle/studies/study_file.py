"""Reading a study from its JSON file, every entry checked."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bundle.console import did_you_mean
from bundle.model.renamed import translated
from bundle.studies.definition import Grid, Study, Variant, check_numbers, check_options

_KEYS = (
    *("_desc_", "title", "config_files", "options", "seeds", "folds"),
    *("grid", "variants", "variants_of", "evaluation", "metrics"),
)
_GRID_KEYS = ("name", "option", "values")
_VARIANT_KEYS = ("label", "config_files", "options")
_EVALUATION_KEYS = ("config_files", "part", "tta", "reference_tta")


def read_study(path: str | os.PathLike[str]) -> Study:
    """Read a study file; the stem of its name is the study's.

    Its entries are those of :class:`bundle.studies.definition.Study`, with ``_desc_`` for the description and what
    belongs to the evaluation under ``evaluation``. A variant has ``label``, ``config_files`` and ``options``, none of
    which must be there: what it lacks is that of the variant of the same name in the study ``variants_of``, whose file
    lies beside this one. A ``grid`` of ``name``, ``option`` and ``values`` makes one for each of its values, which
    stand before the others: the first of them is the reference.

    Raises:
        FileNotFoundError: when there is none; the message names the studies beside it.
        ValueError: for what is not JSON, and for unknown, missing or impossible entries.
    """
    path = Path(path)
    content, where = _content(path), f"study {path.stem}"
    _check_name(path.stem, "study")
    if "afterwards" in content:
        raise ValueError(
            f"{where} has an entry 'afterwards': remove it; the maps of a study's DCNs are drawn by "
            f"python -m bundle.studies.feature_maps --study {path}"
        )
    grid = _grid(content["grid"], where) if "grid" in content else None
    needed = ("config_files", "seeds", *(() if grid else ("variants",)), "evaluation", "metrics")
    _check_keys(content, _KEYS, needed, where)
    measuring = f"evaluation of {where}"
    evaluation = translated("study", _mapping(content["evaluation"], _EVALUATION_KEYS, measuring))
    _check_keys(evaluation, _EVALUATION_KEYS, ("config_files", "part", "tta"), measuring)
    options = _options(content, where)
    check_numbers(content["seeds"], f"seeds of {where}")
    if (folds := content.get("folds")) is not None:
        check_numbers(folds, f"folds of {where}")
    made, written = grid.variants() if grid else {}, content.get("variants", {})
    for name, entry, there in (("variants", written, made), ("metrics", content["metrics"], {})):
        if not isinstance(entry, dict) or not (entry or there):
            raise ValueError(f"{name} of {where} must be a mapping with at least one entry, got {entry!r}")
    others = _others(path, content["variants_of"], where) if "variants_of" in content else {}
    for name in made:
        if name in written:
            raise ValueError(f"variants of {where} has {name!r}, which is also a value of its grid: remove one")
    for key in ("title", "_desc_"):
        _check_text(content.get(key, ""), f"{key} of {where}")
    for metric, label in content["metrics"].items():
        _check_text(label, f"label of metric {metric} of {where}")
    tta = _texts(evaluation["tta"], f"tta of {where}")
    also = _texts(evaluation.get("reference_tta", []), f"reference_tta of {where}", or_none=True)
    return Study(
        name=path.stem,
        title=content.get("title", path.stem),
        description=content.get("_desc_", ""),
        config_files=_texts(content["config_files"], f"config_files of {where}"),
        options=options,
        seeds=tuple(content["seeds"]),
        folds=None if folds is None else tuple(folds),
        variants=made | {name: _variant(name, entry, where, others.get(name)) for name, entry in written.items()},
        evaluation_files=_texts(evaluation["config_files"], f"evaluation's config_files of {where}"),
        part=evaluation["part"],
        tta=tta,
        reference_tta=tuple(dict.fromkeys([*tta, *also])),
        metrics=content["metrics"],
        grid=grid,
    )


def _content(path: Path) -> dict[str, Any]:
    if not path.is_file():
        beside = ", ".join(sorted(str(other) for other in path.parent.glob("*.json")))
        raise FileNotFoundError(f"study {path} does not exist; there are {beside or 'none beside it'}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"study {path} is not JSON: {error}") from None
    return _mapping(content, _KEYS, f"study {path.stem}")


def _others(path: Path, name: Any, where: str) -> Mapping[str, Variant]:
    """Variants of the study beside this one that has them; it may not take its own from a third."""
    _check_text(name, f"variants_of of {where}")
    _check_name(name, "study")
    shared = path.with_name(f"{name}.json")
    if "variants_of" in _content(shared):
        raise ValueError(f"variants_of of {where} names {name}, which takes its own from another: name that one")
    return read_study(shared).variants


def _grid(content: Any, study: str) -> Grid:
    where = f"grid of {study}"
    _check_keys(content, _GRID_KEYS, _GRID_KEYS, where)
    name, option = content["name"], content["option"]
    if not all(isinstance(text, str) and text for text in (name, option)):
        raise ValueError(f"name and option of {where} must be texts, got {name!r} and {option!r}")
    (option,) = _options({"options": {option: None}}, where)
    return Grid(name, option, ()).with_values(content["values"])


def _variant(name: str, content: Any, study: str, other: Variant | None) -> Variant:
    """``other`` has what ``content`` lacks."""
    where = f"variant {name} of {study}"
    _check_name(name, "variant")
    _check_keys(content, _VARIANT_KEYS, (), where)
    base = other or Variant(name, name.replace("_", " "))
    given = {"label": base.label, "config_files": list(base.config_files), "options": base.options, **content}
    options = _options(given, where)
    files = _texts(given["config_files"], f"config_files of {where}", or_none=True)
    _check_text(given["label"], f"label of {where}")
    return Variant(name, given["label"], files, options)


def _options(content: dict[str, Any], where: str) -> dict[str, Any]:
    """Its options by their names of today."""
    options = content.get("options", {})
    check_options(options, where)
    return translated("option", options)


def _check_text(value: Any, what: str) -> None:
    if not isinstance(value, str):
        raise ValueError(f"{what} must be a text, got {value!r}: put it into quotes")


def _mapping(content: Any, known: Sequence[str], where: str) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise ValueError(f"{where} must be a mapping of {', '.join(known)}, got {content!r}")
    return content


def _check_keys(content: Any, known: Sequence[str], needed: Sequence[str], where: str) -> None:
    for key in _mapping(content, known, where):
        if key not in known:
            raise ValueError(f"{where} has an unknown entry {key!r}: {did_you_mean(key, known)}")
    missing = [key for key in needed if key not in content]
    if missing:
        raise ValueError(f"{where} lacks {', '.join(missing)}")


def _check_name(name: str, what: str) -> None:
    if not re.fullmatch(r"\w[\w.+-]*", name):
        raise ValueError(f"a {what} must be named by letters, digits and _ . + - (it names folders), got {name!r}")


def _texts(value: Any, what: str, or_none: bool = False) -> tuple[str, ...]:
    texts = isinstance(value, list) and all(isinstance(text, str) for text in value)
    if not texts or not (value or or_none):
        raise ValueError(f"{what} must be a list of texts, got {value!r}")
    return tuple(value)

"""``checking``: what a labelled data set is like, what is wrong with it, and what follows for its training."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from torch.utils.data import DataLoader
from tqdm import tqdm

from bundle.console import counted, listed, own_cause
from bundle.data import checks, doctor
from bundle.data.dataset import TileDataset
from bundle.data.doctor import Finding, Sheet
from bundle.data.doctor.finding import of_all
from bundle.data.errors import ImageError, image_error
from bundle.data.item import Item
from bundle.data.lonely import refused
from bundle.data.splits import split_told
from bundle.geometry import ValidGeometry
from bundle.model.architecture import require_fitting_tile
from bundle.output.check_page import HOW, CheckPage, write_page
from bundle.training.pace import MEASURED, WARM_UP, MeasurePace, Pace, busy
from bundle.training.plan import Advice, plan_of
from bundle.training.require_settings import require_settings

#: minutes that the table turns into steps
_MINUTES = 20
_WIDTH = 110
_UNFIT = "Files that do not fit"


def remove_page(page: str | os.PathLike[str]) -> None:
    """Remove the page of an earlier check, which may be of another data set, before anything can end this one.

    Args:
        page: the HTML file; it may be missing.
    """
    Path(page).unlink(missing_ok=True)


def check_data(parser: ConfigParser, page: str | os.PathLike[str]) -> None:
    """Read all labelled images as the training of this config would, print the table, write the page.

    Some steps of the training are made, to tell how many this machine makes.

    Args:
        parser: the config.
        page: the HTML file to write.

    Raises:
        ValueError: when a training would be senseless; with the reasons, after table and page are there. Before, for
            settings that no training takes.
        ImageError, FileNotFoundError: as the reading of the datalist.
    """
    remove_page(page)
    with refused() as reasons:
        _require_fitting(parser)
        items: list[Item] = parser.get_parsed_content("labelled")
    image = parser.get_parsed_content("image")
    classes = parser.get_parsed_content("classes")
    read = parser.get_parsed_content("plan#read")
    sheets, findings = _measured(items, read, reasons)
    parts, no_split = _parts(parser, items)
    training, validation, measured = parts
    findings += no_split
    if sheets:
        findings += [
            *doctor.label_findings(sheets, classes.of_pixels, len(items)),
            *doctor.turned_labels(sheets),
            *doctor.shifted_labels(sheets),
        ]
        findings += doctor.twins(sheets, *([item["name"] for item in part] for part in (training, measured)))
        findings += doctor.unlike_others(sheets)
        findings += _without_objects(sheets, parser)
        if not any(finding.level == "stop" for finding in findings):
            # whose labels may be refused where those of all images are fine
            findings += doctor.nothing_to_learn(_of_part(sheets, training), "training label")
    findings.sort(key=lambda finding: doctor.LEVELS.index(finding.level))
    stops = [finding for finding in findings if finding.level == "stop"]
    advice = [] if stops or not sheets else _advice(parser, sheets, training)
    trained = f"from the {counted(len(training), 'image')} that train{'s' if len(training) == 1 else ''}"
    facts = doctor.facts(sheets, image.names, classes.of_pixels, len(items)) if sheets else []
    if not no_split:
        facts[1:1] = [("split", split_told(training, validation))]
    shown = CheckPage(
        source=str(parser.get_parsed_content("dataset_dir")),
        facts=facts,
        findings=findings,
        advice=[(each.option, str(each.value), each.why) for each in advice],
        advised=trained if len(training) < len(items) else "",
        sheets=sheets,
    )
    print(_table(shown), flush=True)
    write_page(shown, Path(page), read)
    print(f"with pictures: {page}", flush=True)
    if stops:
        raise ValueError(f"{shown.source} cannot be trained on: " + " ".join(stop.text for stop in stops))


def _require_fitting(parser: ConfigParser) -> None:
    """Check numbers and tile; where these go by the images, a broken one is told when all are read."""
    try:
        require_settings(parser)
        require_fitting_tile(parser)
    except Exception as error:
        if image_error(error) is None:
            raise


def _measured(items: Sequence[Item], read: Any, reasons: Sequence[ValueError]) -> tuple[list[Sheet], list[Finding]]:
    """Every image that can be read with its label, and what is wrong with the others."""
    sheets: list[Sheet] = []
    broken = [error for error in reasons if isinstance(error, ImageError)]
    lonely = [Finding("stop", _UNFIT, f"{error}.") for error in reasons if not isinstance(error, ImageError)]
    labelled = [item for item in items if "label" in item]
    for item in tqdm(labelled, desc="reading", unit="image", disable=None, leave=False):
        try:
            sheets.append(doctor.measure(item, read))
        except Exception as error:
            found = image_error(error)
            if found is None:
                raise
            broken.append(found)
    if not broken:
        return sheets, lonely
    alike: dict[str, list[str]] = {}
    for each in broken:
        alike.setdefault(each.reason, []).append(Path(each.path).name)
    told = listed([f"{listed(names, 3)}: {reason}" for reason, names in alike.items()], 3)
    text = f"{counted(len(broken), 'file')} cannot be used: {told}."
    return sheets, [*lonely, Finding("stop", _UNFIT, text)]


def _parts(parser: ConfigParser, items: Sequence[Item]) -> tuple[tuple[list[Item], ...], list[Finding]]:
    """What trains, what validates, and all that is measured on; and why a training would refuse the split."""
    try:
        training, validation = (parser.get_parsed_content(f"{part}#items") for part in ("train", "validate"))
        training_names = {item["name"] for item in training}
        measured = [item for item in items if item["name"] not in training_names]
        checks.require_apart(items, training, validation)
    except Exception as error:
        cause = own_cause(error)
        if not isinstance(cause, ValueError):
            raise
        return (list(items), [], []), [Finding("stop", "No split", f"{str(cause).rstrip('.')}.")]
    return (training, validation, measured), []


def _without_objects(sheets: Sequence[Sheet], parser: ConfigParser) -> list[Finding]:
    """Validation images without a single object tell nothing of objects."""
    try:
        chosen = _of_part(sheets, parser.get_parsed_content("validate#items"))
    except Exception:
        return []  # told already
    if not chosen or any(sheet.objects for sheet in chosen) or not any(sheet.objects for sheet in sheets):
        return []
    names = [sheet.name for sheet in chosen]
    level = "warning" if parser.get_parsed_content("best_by") == "loss" else "stop"
    text = (
        f"No object is in {of_all(names, len(names)) if len(names) > 1 else 'the image'} for validation "
        f"({listed(names)}), which cannot choose the best network. Name others, --validation \"['name', ...]\"."
    )
    return [Finding(level, "Validation without objects", text, tuple(names))]


def _of_part(sheets: Sequence[Sheet], part: Sequence[Item]) -> list[Sheet]:
    """Those of a part's images; a volume's, where some of its slices are in the part."""
    files = set(map(_file, part))
    return [sheet for sheet in sheets if _file(sheet.item) in files]


def _file(item: Item) -> tuple[str, int | None]:
    return item["image"], item.get("slice")


def _advice(parser: ConfigParser, sheets: Sequence[Sheet], training: Sequence[Item]) -> list[Advice]:
    network = parser.get_parsed_content("network_def")
    flat = all(len(sheet.size) == 2 for sheet in sheets)
    own = _of_part(sheets, training)
    advice = list(plan_of(own).advice)
    left_out: tuple[str, ...] = () if flat and isinstance(network.geometry, ValidGeometry) else ("depth", "tile_size")
    if parser.get_parsed_content("classes").of_pixels:  # whose regions touch, and shall
        left_out += ("separate_touching#width",)
    advice = [_marked(each, parser) for each in advice if each.option not in left_out]
    marked = {_file(sheet.item) for sheet in own if sheet.summary.marks and not sheet.summary.only}
    pace = _pace(parser, sorted(training, key=lambda item: _file(item) not in marked)[:2])
    steps = int(60 * _MINUTES / pace.step)
    why = f"a step takes {pace.step:.2g} s here, so {_MINUTES} minutes are about {steps} steps, validations not counted"
    why += f"; {hint}" if (hint := busy()) else ""
    return [*advice, Advice("minutes", _MINUTES, why)]


def _marked(advice: Advice, parser: ConfigParser) -> Advice:
    """Told so where the config has this value already."""
    same = parser.get_parsed_content(advice.option) == advice.value
    return replace(advice, why=f"already set; {advice.why}") if same else advice


def _pace(parser: ConfigParser, few: Sequence[Item]) -> Pace:
    """Of steps on one or two images: the others need not be read for it."""
    preprocessing = parser.get_parsed_content("train#preprocessing")
    samples = TileDataset(list(few), preprocessing, samples_per_epoch=WARM_UP + MEASURED)
    names = ("network", "optimizer", "auxiliary_loss", "train#inferer", "device")
    network, optimizer, loss, inferer, device = (parser.get_parsed_content(name) for name in names)
    return MeasurePace(network, optimizer, loss, inferer, DataLoader(samples, batch_size=1), device)()


def _table(page: CheckPage) -> str:
    """The same as on the page, in plain text."""
    lines = [f"{page.source}: {page.verdict}", ""]
    lines += _rows(page.facts)
    for finding in page.findings:
        lines += ["", *textwrap.wrap(f"{finding.level}: {finding.title}. {finding.text}", _WIDTH)]
    if page.advice:
        lines += ["", f"what follows for a training{', ' * bool(page.advised)}{page.advised}:"]
        lines += _rows([(f"--{option} {value}", why) for option, value, why in page.advice])
        lines += ["", *textwrap.wrap(HOW, _WIDTH)]
    return "\n".join([*lines, ""])


def _rows(rows: Sequence[tuple[str, str]]) -> list[str]:
    wide = max((len(name) for name, _ in rows), default=0) + 4
    return [
        line
        for name, text in rows
        for line in textwrap.wrap(text, _WIDTH, initial_indent=f"  {name}".ljust(wide), subsequent_indent=" " * wide)
    ]

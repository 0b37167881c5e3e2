"""The same image as each run segmented it, the worst images first."""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd
from PIL import Image

from bundle.metrics.selection import lower_is_better
from bundle.output.class_pictures import class_colours
from bundle.output.pictures import boxes_of, classes_of, file_name
from bundle.output.templates import data_uri
from bundle.studies.comparison.mlflow_runs import Run, RunStore, grouped
from bundle.studies.comparison.run_settings import measured_images

logger = logging.getLogger(__name__)

_MANY = 8  # runs; where there are more, panels are smaller
_WIDTHS = 520, 320  # px of a panel, which is drawn 520 px high; the second where there are many
_COLUMNS = 8, 12
_QUALITY = 88  # of JPEG, at which outlines of one px keep their colour


@dataclass
class Panel:
    """What one run found: data URI of the picture, what its title counts, the value; ``whole`` if it was not cut."""

    run: Run
    picture: str
    count: str = ""
    value: float | None = None
    best: bool = False
    whole: bool = False


@dataclass
class SharedImage:
    """One image: data URIs of itself and its truth (empty where no picture has them), and a panel for each run.

    ``classes`` are names and colours, ``#rrggbb``, of what the pictures show; none where there is one kind of cell.
    """

    name: str
    part: str | None
    value: float | None
    picture: str = ""
    truth: str = ""
    truth_count: str = ""
    panels: list[Panel] = field(default_factory=list)
    classes: list[tuple[str, str]] = field(default_factory=list)

    @property
    def columns(self) -> int:
        """Of the pictures on the page: rows of about equal length."""
        pictures = len(self.panels) + bool(self.picture) + bool(self.truth)
        return -(-pictures // -(-pictures // _COLUMNS[len(self.panels) > _MANY]))


def shared_images(store: RunStore, runs: Sequence[Run], metric: str, count: int) -> list[SharedImage]:
    """Images that several runs segmented, the worst ``count`` of each set of runs that measured the same images.

    Args:
        store: where their artifacts are.
        runs: in the order of their panels. Evaluations with pictures take part; trainings, with the pictures of
            their last validation that has any, only where there are none.
        metric: a column of ``images.csv``.
        count: of images.
    """
    pictures = {run.run_id: found for run in runs if (found := store.pictures(run))}
    seen = [run for run in runs if run.run_id in pictures]
    seen = [run for run in seen if run.part is not None] or seen
    shared = []
    for together in grouped(seen, measured_images).values():
        values = {run.run_id: {i: row.get(metric) for i, row in store.images(run).items()} for run in together}
        names = {file_name(image): image for found in values.values() for image in found}
        files = {run.run_id: {names.get(f, f): path for f, path in pictures[run.run_id].items()} for run in together}
        for name, mean in ordered_images(files, values, lower_is_better(metric))[:count]:
            image = SharedImage(name, together[0].part, mean)
            for run in together:
                if name in files[run.run_id]:
                    content = store.artifact(run, files[run.run_id][name])
                    _add(image, run, content, values[run.run_id].get(name), _WIDTHS[len(together) > _MANY])
            _mark_best(image, lower_is_better(metric))
            shared.append(image)
    return shared


def ordered_images(
    files: Mapping[str, Mapping[str, str]], values: Mapping[str, Mapping[str, float | None]], lower: bool
) -> list[tuple[str, float | None]]:
    """Images of at least two runs (of one, where there is one only) and their mean values, the worst first.

    Args:
        files: run -> image -> picture.
        values: run -> image -> value, None where an image has none.
        lower: whether the lowest value is the best.

    Returns:
        Images without a value come last, by name.
    """
    drawn = pd.DataFrame({run: dict.fromkeys(found, 1) for run, found in files.items()}).sort_index()
    drawn = drawn[drawn.count(axis="columns") >= min(2, len(files))]
    means = pd.DataFrame(values, drawn.index, drawn.columns, float).where(drawn.notna()).mean(axis="columns")
    ordered = means.sort_values(ascending=not lower, kind="stable", na_position="last")
    return [(str(image), None if math.isnan(mean) else mean) for image, mean in ordered.items()]


def _add(image: SharedImage, run: Run, content: bytes | None, value: float | None, width: int) -> None:
    if content is None:
        return
    try:
        with Image.open(io.BytesIO(content)) as opened:
            boxes, names = boxes_of(opened), classes_of(opened)
            picture = opened.convert("RGB")
    except OSError as error:
        logger.warning("the picture of %s by run %s is left out: %s", image.name, run.name, error)
        return
    steps = {title.partition(":")[0]: (title.partition(":")[2].strip(), box) for title, box in boxes.items()}
    if "found" not in steps:  # of an earlier version, which did not note where the steps lie
        image.panels.append(Panel(run, _jpeg(picture, 1600), value=value, whole=True))
        return
    colours = class_colours(len(names)).astype(int).tolist()
    named = [(name, "#{:02x}{:02x}{:02x}".format(*colour)) for name, colour in zip(names, colours, strict=True)]
    image.classes += [each for each in named if each not in image.classes]
    counted, box = steps["found"]
    image.panels.append(Panel(run, _jpeg(picture.crop(box), width), counted, value))
    if not image.picture:
        image.picture = _jpeg(picture.crop(steps["image"][1]), width)
        if "truth" in steps:
            image.truth_count, box = steps["truth"]
            image.truth = _jpeg(picture.crop(box), width)


def _mark_best(image: SharedImage, lower: bool) -> None:
    known = [panel.value for panel in image.panels if panel.value is not None]
    if len(known) > 1:
        best = min(known) if lower else max(known)
        for panel in image.panels:
            panel.best = panel.value == best


def _jpeg(picture: Image.Image, width: int) -> str:
    if picture.width > width:
        picture = picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)
    return data_uri(picture, "JPEG", quality=_QUALITY, subsampling=0, optimize=True)

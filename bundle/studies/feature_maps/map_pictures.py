"""Score maps as pictures: one of every run, and one sheet of all; each map has one scale of colours everywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bundle.output.overlay import stretch
from bundle.studies.definition import Study
from bundle.studies.feature_maps.branch_maps import TrialMaps, TuningImage

_INCH, _DPI = 1.75, 120
#: from orange, background, to violet, cell; distinct for any kind of colour vision
_COLOURS = "PuOr"


def colour_scales(found: Sequence[TrialMaps]) -> dict[str, float]:
    """name -> the value, in logits, at which a map's colours end on both sides, over all runs.

    The 99th percentile of the absolute values: a weak map looks weak, and a few strong pixels do not hide the rest.
    """
    names = dict.fromkeys(name for run in found for name in run.maps)
    scales = {}
    for name in sorted(names):
        # every 7th pixel is enough for a percentile
        values = [np.abs(each.ravel()[::7]) for run in found for each in run.maps.get(name, [])]
        scales[name] = float(np.percentile(np.concatenate(values).astype(np.float64), 99)) or 1.0
    return scales


def draw_run(run: TrialMaps, label: str, images: Sequence[TuningImage], scales: Mapping[str, float]) -> Figure:
    """A row for each tuning image: image, truth, and the maps of one run."""
    names = [name for name in scales if name in run.maps]
    figure, shelf = _shelf(len(images), 2 + len(names), f"{run.trial.name}: {label}")
    for number, (image, row) in enumerate(zip(images, shelf, strict=True)):
        _image(row[0], image.shown, image.name)
        _image(row[1], (image.truth > 0).astype(np.float32), "truth")
        for axes, name in zip(row[2:], names, strict=True):
            _map(axes, run.maps[name][number], scales[name])
            axes.set_title(f"{name}  {run.statistics[name].contrast:.2f} (±{scales[name]:.1f})", fontsize=7, pad=2)
    return figure


def draw_sheet(
    study: Study, found: Sequence[TrialMaps], images: Sequence[TuningImage], scales: Mapping[str, float]
) -> Figure:
    """A row for each variant, a column for each map: the first tuning image, as the variant's first seed sees it.

    Over each map stands its contrast, the mean over the variant's repeats.
    """
    variants = [variant for variant in study.variants if any(run.trial.variant == variant for run in found)]
    names = list(scales)
    ends = ", ".join(f"{name} ±{scales[name]:.1f}" for name in names)
    title = (
        f"{study.title}\n{images[0].name}. Orange: background, violet: cell. Numbers: contrast, mean over repeats.\n"
        f"Colours end at {ends} logits"
    )
    figure, shelf = _shelf(1 + len(variants), max(2, len(names)), title)
    _image(shelf[0][0], images[0].shown, "image")
    _image(shelf[0][1], (images[0].truth > 0).astype(np.float32), "truth")
    for variant, row in zip(variants, shelf[1:], strict=True):
        runs = [run for run in found if run.trial.variant == variant]
        first = min(runs, key=lambda run: (run.trial.seed, run.trial.fold or 0))
        row[0].set_ylabel(study.variants[variant].label, fontsize=7)
        for axes, name in zip(row, names, strict=False):
            if name in first.maps:
                _map(axes, first.maps[name][0], scales[name])
                mean = np.mean([run.statistics[name].contrast for run in runs])
                axes.set_title(f"{name}  {mean:.2f}", fontsize=7, pad=2)
    return figure


def _shelf(rows: int, columns: int, title: str) -> tuple[Figure, np.ndarray]:
    figure = Figure(figsize=(_INCH * columns + 0.3, (_INCH + 0.18) * rows + 0.5), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=8, fontweight="bold", color="#222222")
    shelf = figure.subplots(rows, columns, squeeze=False)
    for axes in shelf.flat:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
    return figure, shelf


def _image(axes: Axes, image: np.ndarray, title: str) -> None:
    axes.imshow(stretch(image), interpolation="antialiased")
    axes.set_title(title, fontsize=7, pad=2)


def _map(axes: Axes, values: np.ndarray, end: float) -> None:
    axes.imshow(values.astype(np.float32), cmap=_COLOURS, vmin=-end, vmax=end, interpolation="antialiased")

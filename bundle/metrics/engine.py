"""The metrics as MONAI metrics and Ignite handlers: one value an epoch, the same on one process as on several."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from monai.handlers import IgniteMetricHandler
from monai.metrics import CumulativeIterationMetric, do_metric_reduction
from monai.utils import MetricReduction
from numpy.typing import NDArray

from bundle.metrics import ctc, isbi2012
from bundle.metrics.objects import detections

Rows = Callable[[np.ndarray, np.ndarray], NDArray[np.float64]]
Value = Callable[[NDArray[np.float64]], float]


def _parted(truth: np.ndarray) -> np.ndarray:
    """Cells that touch, parted as the challenge's are: of two pixels side by side, one becomes background."""
    parted = truth.copy()
    for axis in (0, 1):  # slices are apart
        first, second = np.moveaxis(truth, axis, 0)[:-1], np.moveaxis(truth, axis, 0)[1:]
        np.moveaxis(parted, axis, 0)[:-1][(first != second) & (first > 0) & (second > 0)] = 0
    return parted


def _of_stack(measure: isbi2012.Measure, of_regions: bool) -> tuple[Rows, Value]:
    def rows(truth: np.ndarray, proposal: np.ndarray) -> NDArray[np.float64]:
        # what nobody annotated is membrane in both: it can be neither right nor wrong
        known = np.where(truth >= 0, proposal, 0)
        # separated by connectivity, cells that touch would be one, and merging them correct
        truth = _parted(truth) if of_regions else truth
        # MONAI's (x, y[, z]) as the challenge's programs scan it: some of its ties are decided by the order
        return measure.total(truth.T, known.T).astype(np.float64)

    return rows, measure.value


def _seg_rows(truth: np.ndarray, cells: np.ndarray) -> NDArray[np.float64]:
    jaccard = ctc.jaccard_indices(truth, cells)
    return np.array([jaccard.sum(), len(jaccard)])


def _f1_rows(truth: np.ndarray, cells: np.ndarray) -> NDArray[np.float64]:
    of = detections(truth, cells)
    return np.array([2 * of.found, 2 * of.found + of.missed + of.false], dtype=np.float64)


def _iou_rows(truth: np.ndarray, mask: np.ndarray) -> NDArray[np.float64]:
    known = truth >= 0
    cell, found = truth > 0, (mask > 0) & known
    return np.array([(cell & found).sum(), (cell | found).sum()], dtype=np.float64)


def _background_iou_rows(truth: np.ndarray, mask: np.ndarray) -> NDArray[np.float64]:
    return _iou_rows(np.where(truth < 0, truth, truth == 0), mask == 0)


def _ratio(counts: NDArray[np.float64]) -> float:
    part, whole = counts
    return float(part / whole) if whole else float("nan")


#: name -> (counts of one image, the value that counts amount to); counts of several images add up
METRICS: dict[str, tuple[Rows, Value]] = {
    **{name: _of_stack(measure, name != "pixel_error") for name, measure in isbi2012.MEASURES.items()},
    "seg": (_seg_rows, _ratio),
    "f1": (_f1_rows, _ratio),
    "iou": (_iou_rows, _ratio),
    "background_iou": (_background_iou_rows, _ratio),
}
_POOLED = "pooled"
_REDUCTIONS = (_POOLED, *(str(reduction.value) for reduction in MetricReduction))


class ChallengeMetric(CumulativeIterationMetric):
    """A metric of the challenges over whole images, from batches.

    Args:
        name: of :data:`METRICS`. "pixel_error", "rand_error", "warping_error", "v_rand" and "v_info": see
            :mod:`bundle.metrics.isbi2012`; "seg": see :func:`bundle.metrics.ctc.seg`; "f1": of the cells, see
            :func:`bundle.metrics.objects.detections`; "iou": intersection over union of the foreground;
            "background_iou": of the rest, in EM the membranes.
        reduction: "pooled" takes all images as one stack, as the challenges do; else one of MONAI's reductions of
            the values of single images ("mean", "sum", "none", ...), where images without a value (SEG without a
            reference object) do not count.

    Shape:
        y_pred: B1HW[D], axes (x, y[, slices]) as MONAI reads them; for "seg" and "f1" the numbered cells, for "iou"
            and "background_iou" the mask, else the probability of cell in 0..1.
        y: B1HW[D] instances: 0 background, 1.. cells, below 0 where nobody annotated. Such pixels never count as
            wrong; for "seg" they are no reference object, and background where a found cell reaches into them.

    Raises:
        ValueError: for another name or reduction; at a call for shapes that differ or values that the metric
            refuses; on aggregation when no image was seen.

    Warns:
        UserWarning: no image has an object that SEG could be measured on: it is NaN.
    """

    def __init__(self, name: str, reduction: str = _POOLED) -> None:
        super().__init__()
        if name not in METRICS:
            raise ValueError(f"metric must be one of {', '.join(METRICS)}, got {name!r}")
        if reduction not in _REDUCTIONS:
            raise ValueError(f"reduction must be one of {', '.join(_REDUCTIONS)}, got {reduction!r}")
        self.name = name
        self.reduction = reduction
        self._rows, self._value = METRICS[name]

    def _compute_tensor(self, y_pred: torch.Tensor, y: torch.Tensor | None = None, **kwargs: Any) -> torch.Tensor:
        if y is None or y.shape != y_pred.shape or y.ndim < 4 or y.shape[1] != 1:
            raise ValueError(
                f"{self.name} needs y_pred and y of one shape B1HW[D], got {tuple(y_pred.shape)} and "
                f"{None if y is None else tuple(y.shape)}"
            )
        if y_pred.dtype in (torch.bfloat16, torch.float16):
            y_pred = y_pred.float()
        pairs = zip(y[:, 0].cpu().numpy(), y_pred[:, 0].cpu().numpy(), strict=True)
        return torch.from_numpy(np.stack([self._rows(*pair) for pair in pairs]))

    def per_image(self) -> torch.Tensor:
        """(N,) the value of every image seen by any process; NaN where an image has none."""
        return torch.tensor([self._value(row) for row in self._gathered().numpy()], dtype=torch.float64)

    def curve(self) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """(T,) thresholds and the measure of all images together at each, of those that take the best of several."""
        measure = isbi2012.MEASURES.get(self.name)
        if measure is None:
            return None
        return measure.thresholds, np.asarray(measure.curve_of(self._gathered().sum(dim=0).numpy()), np.float64)

    def aggregate(self, reduction: str | None = None) -> torch.Tensor:
        """The metric, a scalar; with reduction "none" (N, 1)."""
        reduction = reduction or self.reduction
        if reduction == _POOLED:
            value = torch.tensor(self._value(self._gathered().sum(dim=0).numpy()), dtype=torch.float64)
        else:
            value = do_metric_reduction(self.per_image()[:, None], reduction)[0]
        if value.isnan().all():
            warnings.warn(f"{self.name} is NaN: no image has an annotated object", stacklevel=2)
        return value

    def _gathered(self) -> torch.Tensor:
        rows: Any = self.get_buffer()  # type: ignore[no-untyped-call]
        if not isinstance(rows, torch.Tensor):
            raise ValueError(f"no image was seen: {self.name} has nothing to aggregate")
        return rows.cpu()


class MetricHandler(IgniteMetricHandler):
    """:class:`ChallengeMetric` for the engines; the values of single images go to ``engine.state.metric_details``.

    Of a measure over thresholds, :meth:`ChallengeMetric.curve` goes to ``engine.state.metric_curves``.

    Args:
        name, reduction: see :class:`ChallengeMetric`.
        output_transform: (y_pred, y) from the engine's output, as :func:`monai.handlers.from_engine` makes it.
    """

    def __init__(self, name: str, output_transform: Callable[..., Any], reduction: str = _POOLED) -> None:
        self.metric: ChallengeMetric = ChallengeMetric(name, reduction)
        super().__init__(metric_fn=self.metric, output_transform=output_transform, save_details=False)

    def compute(self) -> Any:
        value = super().compute()
        if self._engine is not None:
            self._engine.state.metric_details[self._name] = self.metric.per_image()  # type: ignore[attr-defined]
            if (curve := self.metric.curve()) is not None:
                curves = getattr(self._engine.state, "metric_curves", {})
                self._engine.state.metric_curves = {**curves, self._name: curve}  # type: ignore[attr-defined]
        return value

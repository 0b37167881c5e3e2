"""Which image to annotate next: the one of which the network is least sure."""

from __future__ import annotations

import logging
from typing import Any

from monailabel.interfaces.tasks.scoring import ScoringMethod
from monailabel.interfaces.tasks.strategy import Strategy

from bundle.data.errors import image_error
from bundle.inference import uncertainty
from bundle.inference.passes import disagreeing_passes, foreground_probability
from bundle.model import TrainedNetwork

logger = logging.getLogger(__name__)


class UncertaintyScoring(ScoringMethod):
    """Scores every image without a label, and notes in its info score and model: nothing is scored twice.

    Args:
        kind: "epistemic", the disagreement of passes with dropout (of a network without: of the image turned and
            mirrored), or "border", the uncertainty between touching cells; see :mod:`bundle.inference.uncertainty`.
        task: the inference task of the bundle.

    Requests may have ``max_images`` (so many at most are scored anew, in the order of their names; None for all),
    ``passes`` (of "epistemic", 8), ``seed`` and ``device``.
    """

    KINDS = ("epistemic", "border")

    def __init__(self, kind: str, task: Any) -> None:
        super().__init__(f"the network's uncertainty, {kind}")
        self.kind = kind
        self.task = task

    def __call__(self, request: dict[str, Any], datastore: Any) -> dict[str, float]:
        """Scores by image; higher is more uncertain."""
        model = TrainedNetwork(self.task.get_path()).version
        scores, fresh = {}, 0
        most = request.get("max_images")
        for image_id in sorted(datastore.get_unlabeled_images()):
            info = datastore.get_image_info(image_id)
            known = info.get(self.kind, {})
            if known.get("model") != model:
                if most is not None and fresh >= most:
                    continue
                fresh += 1
                known = {"model": model, "score": self._score(info["path"], request)}
                datastore.update_image_info(image_id, {self.kind: known})
            if known["score"] is not None:
                scores[image_id] = known["score"]
        logger.info("%s: %d images, %d of them scored now", self.kind, len(scores), fresh)
        return scores

    def _score(self, path: str, request: dict[str, Any]) -> float | None:
        """None for a file that cannot be read: it must not keep the others from being scored."""
        with self.task.lock:
            try:
                network, inferer, image = self.task.prepared(path, request.get("device"))
            except Exception as error:
                if image_error(error) is None:
                    raise
                logger.warning("not scored: %s", error)
                return None
            if self.kind == "epistemic":
                passes = disagreeing_passes(network, inferer, image, request.get("passes", 8), request.get("seed", 0))
                return uncertainty.epistemic_score(passes)
            probability = foreground_probability(network, inferer, image)
        planes = probability.unbind(-1) if probability.dim() == 3 else [probability]  # the slices of a stack
        return sum(map(uncertainty.border_score, planes)) / len(planes)


class MostUncertain(Strategy):
    """The unlabelled image with the highest score; once all are scored, the same one until it has a label.

    Images that are not scored yet are scored now, ``max_images`` of them at most (16): of a large folder, POST
    /scoring/KIND first.
    """

    def __init__(self, scoring: UncertaintyScoring) -> None:
        super().__init__(f"{scoring.description}: the image with the most of it")
        self.scoring = scoring

    def __call__(self, request: dict[str, Any], datastore: Any) -> dict[str, Any] | None:
        scores = self.scoring({"max_images": 16, **request}, datastore)
        ranked = uncertainty.rank(scores)
        return {"id": ranked[0], "score": scores[ranked[0]]} if ranked else None

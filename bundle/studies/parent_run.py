"""The run in MLflow whose child runs are a study's trainings."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from bundle.studies.definition import Study
from bundle.studies.trial import StudyPaths
from bundle.tracking import earlier_run_id
from bundle.tracking.config import flat_config
from bundle.tracking.mlflow_run import begin_run
from bundle.tracking.mlflow_store import VALUE_CHARACTERS, log_artifact, reason
from bundle.tracking.origin import DESCRIPTION, described
from bundle.tracking.provenance import provenance

logger = logging.getLogger(__name__)


class ParentRun:
    """Opens or resumes the study's run; its id is kept in the study's folder.

    The experiment has the study's name. Parameters are the study's definition and what has to be known to repeat it
    (:func:`bundle.tracking.provenance.provenance`); tables and chart are artifacts. A store that fails later costs a
    warning.

    Args:
        study: gives names and parameters.
        paths: the study's folder, and the store.
        data_fingerprint: of the labelled images.

    Raises:
        ValueError: when the study's earlier run is in another store.
        ConnectionError: when the store cannot be used.
    """

    def __init__(self, study: Study, paths: StudyPaths, data_fingerprint: str) -> None:
        uri = paths.store
        earlier, definition = earlier_run_id(paths.folder), asdict(study)
        facts = provenance(definition, data_fingerprint)
        params = [*flat_config(definition), *((f"provenance.{name}", value) for name, value in facts.items())]
        tags = {**described(), "study": study.name, "stage": "study"}
        try:
            self._client, self.run_id = begin_run(
                paths.folder, uri, (study.name, study.name), earlier, params, tags.items(), definition
            )
        except ValueError as error:
            if earlier is None:
                raise
            raise ValueError(
                f"study {study.name} is run {earlier} of another store than {uri!r}: name that one by "
                f"--tracking_uri, or move {paths.folder} away"
            ) from error

    def show(self, files: Sequence[Path], note: str) -> None:
        """Log the report's files, and a text for the head of the run's page."""
        try:
            for file in files:
                log_artifact(self._client, self.run_id, file, None)
            text = note if len(note) <= VALUE_CHARACTERS else note[:VALUE_CHARACTERS].rpartition("\n")[0]
            self._client.set_tag(self.run_id, DESCRIPTION, text)
        except Exception as error:
            logger.warning("the study's run in MLflow does not have its newest report: %s", reason(error))

    def end(self, status: str) -> None:
        """FINISHED; SCHEDULED, when runs were not started; FAILED, when some failed; KILLED."""
        try:
            if status == "SCHEDULED":
                self._client.update_run(self.run_id, status=status)
            else:
                self._client.set_terminated(self.run_id, status)
        except Exception as error:
            logger.warning("the study's run in MLflow could not be ended as %s: %s", status, reason(error))

"""What MLflow shows beside a run's name: source, description and data set."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: tag that MLflow shows as Markdown at the head of a run's page
DESCRIPTION = "mlflow.note.content"
_DIGEST_CHARACTERS = 36  # MLflow's own limit


def described() -> dict[str, str]:
    """Tags: as source the names of the config files of the command line, or else the program; as description all of it.

    A password in an address is not repeated.
    """
    program, *words = sys.orig_argv
    line = re.sub(r"(://[^/@\s]*:)[^/@\s]*@", r"\1...@", shlex.join([Path(program).name, *words]))
    files = re.findall(r"[^/'\",\[\]\s]+\.json", " ".join(words))
    return {
        "mlflow.source.name": " + ".join(files) or Path(sys.argv[0]).name,
        "mlflow.source.type": "LOCAL",
        DESCRIPTION: f"Made by\n\n    {line}",
    }


def data_set(config: Mapping[str, Any] | None, fingerprint: str | None, use: str) -> Any:
    """An ``mlflow.entities.DatasetInput`` for the folder ``dataset_dir``; its digest is the fingerprint's beginning.

    Args:
        config: the executed one.
        fingerprint: of the data list; None gives None.
        use: "training" or "evaluation".
    """
    if fingerprint is None:
        return None
    from mlflow.entities import Dataset, DatasetInput, InputTag

    place = (config or {}).get("dataset_dir", "data")
    if isinstance(place, Mapping):  # a component that makes the data
        place = str(place.get("_target_", "data"))
    source = json.dumps({"uri": str(place)})
    made = Dataset(Path(place).name or "data", fingerprint[:_DIGEST_CHARACTERS], "local", source)
    return DatasetInput(made, [InputTag("mlflow.data.context", use)])

"""A run in MLflow: opened, found again after a kill, and described; its id is kept in the folder of the run."""

from __future__ import annotations

import os
import re
import secrets
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from filelock import FileLock

from bundle.atomic import remove_leftovers, replacing, write_text
from bundle.tracking.mlflow_store import describe, import_mlflow, reason, sqlite_uri

#: not a language model; MLflow 3.17 shows the page of one all the same unless its address has a workflowType, which
#: ``python -m bundle.tracking`` prints
_KIND = {"mlflow.experimentKind": "custom_model_development"}
#: tag of a run: what :func:`new_run` gave it
OPENED_AS, _NEW = "opened_as", "new-"
_RUN_ID_FILE = "mlflow_run_id.txt"
_WITHOUT_ID = "remove it, and a new run is opened in MLflow"


def earlier_run_id(folder: str | os.PathLike[str]) -> str | None:
    """Id of the MLflow run that was opened, or was about to be, for a folder; None without one.

    Raises:
        ValueError: when the file that should hold it cannot be read, or holds something else.
    """
    file = Path(folder) / _RUN_ID_FILE
    try:
        found = file.read_text(encoding="utf-8").strip() if file.is_file() else ""
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ValueError(f"{file} cannot be read ({why}): {_WITHOUT_ID}") from error
    if not re.fullmatch(r"[\w-]{,100}", found):
        raise ValueError(f"{file} holds {found[:40]!r} instead of the id of an MLflow run: {_WITHOUT_ID}")
    return found or None


def begin_run(
    folder: Path,
    uri: str,
    names: tuple[str, str],
    run: str | None,
    params: Iterable[tuple[str, str]],
    tags: Iterable[tuple[str, str]],
    config: Any,
    data: Any = None,
) -> tuple[Any, str]:
    """Open a run, note its id in ``folder`` and log what it is.

    Args:
        folder: of the run.
        uri: of the store.
        names: of the experiment and of the run.
        run: id of an earlier one to continue; None opens a new one.
        params, tags, config, data: see :func:`bundle.tracking.mlflow_store.describe`.

    Returns:
        a client of the store, and the id.

    Raises:
        ValueError: for a run that is not in the store, or an experiment that was deleted.
        ConnectionError: when the store cannot be used.
    """
    note, own, run = folder / _RUN_ID_FILE, sqlite_uri(folder), run or new_run()
    try:
        if run.startswith(_NEW):
            write_text(note, f"{run}\n")  # killed before the id is there, a resumed run finds the one opened by this
        client, run_id = open_run(uri, *names, run)
        write_text(note, f"{run_id}\n")
        describe(client, run_id, params, tags, config, data)
    except ValueError:
        raise
    except Exception as error:  # of MLflow, SQLAlchemy, requests or the system, as the store may be
        cure = "choose another file" if uri.startswith("sqlite:") else f"start the server, use a local store ({own!r})"
        raise ConnectionError(
            f"tracking_uri {uri!r} cannot be used: {reason(error)}; {cure} or switch the tracking of a training off "
            "(enabled=False)"
        ) from error
    return client, run_id


def new_run() -> str:
    """What stands for the id of a run that is still to be opened; kept, it finds the run if its id gets lost."""
    return f"{_NEW}{secrets.token_hex(8)}"


def open_run(uri: str, experiment_name: str, run_name: str, run: str) -> tuple[Any, str]:
    """A client of the store and the id of a run that is now running.

    Args:
        uri: of the store; an SQLite file that is not there is made.
        experiment_name: made if absent.
        run_name: of a new run.
        run: the id of an earlier one, or :func:`new_run`.
    """
    mlflow, location = import_mlflow(), None
    if uri.startswith("sqlite:///"):
        file = Path(uri.removeprefix("sqlite:///")).resolve()
        location = (file.parent / "mlartifacts").as_uri()
        _make_database(file, location)
    client = mlflow.MlflowClient(uri)
    if not run.startswith(_NEW):
        try:
            client.update_run(run, status="RUNNING")
        except mlflow.MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            raise ValueError(
                f"resume_run_id {run[:40]!r} is no run in {uri!r}: to open a new one, remove {_RUN_ID_FILE} from the "
                "folder of the run, or pass None"
            ) from error
        return client, run
    experiment: Any = client.get_experiment_by_name(experiment_name)
    if experiment is None:
        try:
            client.create_experiment(experiment_name, artifact_location=location, tags=_KIND)
        except mlflow.MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another process may have made it a moment ago
                raise
        experiment = client.get_experiment_by_name(experiment_name)
    if experiment.lifecycle_stage != "active":
        raise ValueError(f"experiment_name {experiment_name!r} is deleted in {uri!r}: restore it or choose another")
    for opened in client.search_runs([experiment.experiment_id], f"tags.{OPENED_AS} = '{run}'"):
        return client, opened.info.run_id
    return client, client.create_run(experiment.experiment_id, run_name=run_name, tags={OPENED_AS: run}).info.run_id


def _make_database(file: Path, artifacts: str) -> None:
    """Make an SQLite store with all its tables, unless there is one.

    MLflow makes them one by one. Killed in between it leaves a file that it cannot use again, and of two processes
    that begin at the same time one fails; so one process makes the file elsewhere, and the others wait for it.

    Raises:
        ValueError: for a file that is no database, or one of something else.
    """
    if file.exists():
        _require_database(file)
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_name(f".{file.name}.lock")):
        if not file.exists():
            remove_leftovers(file.parent)
            with replacing(file) as part:
                SqlAlchemyStore(f"sqlite:///{part.as_posix()}", artifacts).engine.dispose()


def _require_database(file: Path) -> None:
    """MLflow tries for minutes to open what is no database, and puts its tables into any that is."""
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True)) as opened:
            tables = {name for (name,) in opened.execute("select name from sqlite_master where type = 'table'")}
    except sqlite3.Error as error:
        raise ValueError(
            f"{file} cannot be used as a database ({error}): move it away, or choose another tracking_uri"
        ) from error
    if tables and "experiments" not in tables:
        known = ", ".join(sorted(tables)[:3])
        raise ValueError(f"{file} is a database of something else (tables {known}): choose another tracking_uri")

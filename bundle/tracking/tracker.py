"""One MLflow run for one training: parameters, losses, metrics, artifacts; never in the way of the training."""

from __future__ import annotations

import atexit
import logging
import os
import secrets
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from ignite.handlers import Timer
from monai.bundle import ConfigParser

from bundle.tracking.config import changed_config, executed_config, running_config
from bundle.tracking.mlflow_run import begin_run
from bundle.tracking.mlflow_store import SCHEMES, VALUE_CHARACTERS, Writer, log_artifact, sqlite_uri
from bundle.tracking.monai_handlers import take_off_mlflow_handlers
from bundle.tracking.origin import data_set, described
from bundle.tracking.provenance import provenance
from bundle.tracking.rows import Row, loss_of, scalars, snapshot

logger = logging.getLogger(__name__)


class MLflowTracker:
    """Ignite handler that records one training run; the validator joins it by :class:`TrackMetrics`.

    In MLflow, and always in ``run_dir/history.csv`` (columns time, iteration, epoch, name, value), are

    - of every step ``train/loss``, ``train/learning_rate`` (one for each parameter group), ``train/seconds_step``
      and ``train/seconds_data``, the wait for the batch (a GPU's queued kernels count where they are waited for),
    - of every epoch the trainer's metrics, of every validation ``val/<metric>``.

    The step of every value is the trainer's iteration: losses and validations share one axis. Parameters,
    :func:`bundle.tracking.provenance.provenance`, the data set and the config (``config.json``, and what is not as in
    ``configs/train.json`` as a parameter ``config.<path>``) are logged at the start, ``history.csv`` and the artifacts
    at the end. The run ends FINISHED, FAILED (with the tag ``exception``), or KILLED by Ctrl-C or
    SIGTERM, and then without artifacts. Resumed, it continues the same run: ``history.csv`` is cut to what the
    checkpoint has seen; MLflow, which deletes nothing, keeps both values of a step that was repeated.

    A step only appends to a list; a thread writes in batches. When the store fails in mid-training there is one
    warning, training continues, and what is missing is sent again later. Only rank 0 records. MONAI's own
    MLFlowHandlers on the same engines (``--tracking mlflow``) are taken off before they open a second run; their
    artifacts are logged here.

    Args:
        run_dir: folder of the run; made if absent. The id of the MLflow run is left there.
        tracking_uri: ``sqlite:///<path>``, ``http://`` or ``https://``; None takes the environment variable
            MLFLOW_TRACKING_URI, else :func:`sqlite_uri` of ``run_dir``.
        experiment_name: made if absent.
        run_name: None makes a unique one of experiment, date, time and four random letters. Another run of the same
            name is never taken over.
        params: to be logged, nested mappings as ``outer.inner``. Of names, what MLflow forbids becomes "_"; values
            are cut at 6000 characters.
        config: the executed config; None takes the one that ``monai.bundle run`` is running, if any.
        data_fingerprint: of the data list, see the data modules.
        tags: of the run.
        artifacts: files and folders logged at the end; one that is missing then is named in a warning.
        resume_run_id: the MLflow run to continue, see :func:`bundle.tracking.mlflow_run.earlier_run_id`; None opens a
            new one. Parameters that differ from the earlier ones become tags ``resumed.<name>``.
        enabled: False leaves MLflow out and writes ``history.csv`` only.

    Raises:
        ValueError: for another kind of ``tracking_uri``; at the start for a deleted experiment, or a run to resume that
            is not in the store.
        ConnectionError: at the start, when the store cannot be reached or written.
    """

    def __init__(
        self,
        run_dir: str | os.PathLike[str],
        tracking_uri: str | None = None,
        experiment_name: str = "seamless-unet",
        run_name: str | None = None,
        params: Mapping[str, Any] | None = None,
        config: Mapping[str, Any] | ConfigParser | None = None,
        data_fingerprint: str | None = None,
        tags: Mapping[str, Any] | None = None,
        artifacts: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
        resume_run_id: str | None = None,
        enabled: bool = True,
    ) -> None:
        uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or sqlite_uri(run_dir)
        if not uri.startswith(SCHEMES):
            raise ValueError(
                f"tracking_uri must begin with {', '.join(SCHEMES)}, got {uri!r}; a local store is "
                f"{sqlite_uri(run_dir)!r}"
            )
        self.run_dir = Path(run_dir)
        self.tracking_uri = uri
        self.experiment_name = experiment_name
        self.run_name = run_name or f"{experiment_name}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
        self.params = dict(params or {})
        self.config = config
        self.data_fingerprint = data_fingerprint
        self.tags = dict(tags or {})
        self.artifacts = [artifacts] if isinstance(artifacts, str | os.PathLike) else list(artifacts)
        self.resume_run_id = resume_run_id
        self.enabled = enabled
        self.run_id: str | None = None
        self.engine: Engine | None = None
        self._writer: Writer | None = None
        self._timers = {"data": Timer(), "step": Timer()}
        self._training = False

    def attach(self, engine: Engine) -> None:
        self.follow(engine)
        self._timers["data"].attach(engine, Events.GET_BATCH_STARTED, Events.GET_BATCH_COMPLETED)
        self._timers["step"].attach(engine, Events.ITERATION_STARTED, Events.ITERATION_COMPLETED)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._step)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._epoch)
        engine.add_event_handler(Events.TERMINATE, self._drain)
        self._training = True

    def follow(self, engine: Engine) -> None:
        """Open the run when ``engine`` starts, unless it is open already; who opened it also closes it."""
        self._replace_monai_handlers(engine)
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._failed)

    def start(self, engine: Engine) -> None:
        """Open the run, or fail at once when the store cannot be used."""
        if getattr(engine.state, "rank", 0) > 0:
            return
        self._replace_monai_handlers(engine)
        # Ignite stops at the first handler of EXCEPTION_RAISED that raises again, as MONAI's StatsHandler does
        engine._event_handlers[Events.EXCEPTION_RAISED].sort(key=lambda entry: entry[0] != self._failed)
        if self._writer is not None:
            return
        self.run_dir.mkdir(parents=True, exist_ok=True)
        client = self._open(engine) if self.enabled else None
        self.engine = engine
        self._writer = Writer(self.run_dir / "history.csv", client, self.run_id, self.tracking_uri, self._training)
        self._writer.start()
        atexit.register(self.close, "KILLED")
        if _in_main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _exit)
        # appended only now, so that it comes after the handlers that publish the model
        engine.add_event_handler(Events.COMPLETED, lambda: self.close())

    def record(self, values: Mapping[str, Any]) -> None:
        """Note numbers, arrays or tensors at the present iteration, without waiting for a device; names join by "/"."""
        if self._writer is not None and self.engine is not None:
            now, iteration, epoch = time.time(), self.engine.state.iteration, self.engine.state.epoch
            self._writer.queue.extend(Row(now, iteration, epoch, *pair) for pair in scalars(values))

    def log_artifact(self, path: str | os.PathLike[str], folder: str | None = None) -> None:
        """Log a file or folder into ``folder`` of the run, later and without waiting for it."""
        if self._writer is not None:
            self._writer.queue.append(partial(log_artifact, path=Path(path), folder=folder))

    def close(self, status: str = "FINISHED", exception: BaseException | None = None) -> None:
        """Send what is left and end the run; waits a minute at most, and does nothing a second time."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        atexit.unregister(self.close)
        if _in_main_thread() and signal.getsignal(signal.SIGTERM) is _exit:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if status != "KILLED":
            for path in (self.run_dir / "history.csv", *self.artifacts):
                writer.queue.append(partial(log_artifact, path=Path(path), folder=None))
        if exception is not None:
            text = f"{type(exception).__name__}: {exception}"[:VALUE_CHARACTERS]
            writer.queue.append(lambda client, run_id: client.set_tag(run_id, "exception", text))
        writer.queue.append(lambda client, run_id: client.set_terminated(run_id, status))
        writer.stop()

    def _open(self, engine: Engine) -> Any:
        config = executed_config(self.config) if self.config is not None else running_config()
        facts = provenance(config, self.data_fingerprint)
        planned = {key: getattr(engine.state, key, None) for key in ("max_epochs", "epoch_length", "device")}
        params = dict(_flat({**planned, **self.params, "provenance": facts}))
        params |= {f"config.{path}": text for path, text in changed_config(config or {}) if path not in params}
        tags = {"mlflow.source.git.commit": facts["git_commit"], **described(), **dict(_flat(self.tags))}
        client, self.run_id = begin_run(
            self.run_dir,
            self.tracking_uri,
            (self.experiment_name, self.run_name),
            self.resume_run_id,
            params.items(),
            tags.items(),
            config,
            data_set(config, self.data_fingerprint, "training" if self._training else "evaluation"),
        )
        logger.info("MLflow run %s (%s) in %s", self.run_name, self.run_id, self.tracking_uri)
        return client

    def _replace_monai_handlers(self, engine: Engine) -> None:
        if self.enabled:
            self.artifacts += take_off_mlflow_handlers(engine)

    def _step(self, engine: Engine) -> None:
        if self._writer is None:
            return
        now, iteration, epoch, add = time.time(), engine.state.iteration, engine.state.epoch, self._writer.queue.append
        loss = loss_of(engine.state.output)
        if loss is not None:
            add(Row(now, iteration, epoch, "train/loss", loss))
        for what, timer in self._timers.items():
            add(Row(now, iteration, epoch, f"train/seconds_{what}", timer.value()))
        groups = getattr(getattr(engine, "optimizer", None), "param_groups", ())
        for index, group in enumerate(groups):
            name = "train/learning_rate" if len(groups) == 1 else f"train/learning_rate_{index}"
            add(Row(now, iteration, epoch, name, snapshot(group["lr"])))

    def _epoch(self, engine: Engine) -> None:
        self.record({"train": engine.state.metrics})
        self._drain(engine)
        if self._writer is not None:
            self._writer.wake.set()

    def _drain(self, engine: Engine) -> None:
        """Into the file before a checkpoint says that these steps need not be repeated."""
        if self._writer is not None:
            self._writer.drain()

    def _failed(self, engine: Engine, exception: BaseException) -> None:
        if engine is self.engine:
            self.close("FAILED" if isinstance(exception, Exception) else "KILLED", exception)
        raise exception  # Ignite leaves that to the handlers


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Flatten parameters to text: nested names joined by "."."""
    for key, value in values.items():
        if is_dataclass(value):
            value = vars(value)
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _exit(number: int, frame: object) -> None:
    """SIGTERM as an orderly exit: the engine tells its handlers, and the run is closed."""
    raise SystemExit(128 + number)

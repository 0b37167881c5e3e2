"""A run survives whatever ends its process: repeated, its command goes on and ends with the same weights.

The processes are forked from one that has imported everything, for that takes longer than these trainings.
"""

from __future__ import annotations

import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch
from ignite.engine import Engine, Events

from bundle import atomic
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.model import checkpoints
from bundle.tracking import mlflow_run, mlflow_store, sqlite_uri
from bundle.training import SaveRun
from bundle.training.interruption import StopRequest
from tests.conftest import ROOT
from tests.crash.bench import Bench
from tests.crash.io_faults import arm
from tests.crash.sentences import require_one_sentence
from tests.crash.whole_files import require_whole
from tests.warm import warm


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, cells: Path) -> Bench:
    with warm("tests.test_survival", "tests.crash.bench") as context:
        made = Bench(tmp_path_factory.mktemp("survival"), cells, context, max_epochs=3)
        assert made.run("whole") == 0, made.said("whole")
    return made


@pytest.mark.nightly
def test_killed_at_20_random_moments(bench: Bench) -> None:
    began = time.monotonic()
    assert bench.run("timed") == 0
    life = time.monotonic() - began
    chance = random.Random(20)
    kills, runs = 0, 0
    while kills < 20:
        runs += 1
        name = f"random{runs}"
        done = False
        while not done:
            process = bench.start(name, resume=True)
            process.join(chance.uniform(0, life) if kills < 20 else None)
            done = process.exitcode is not None
            if not done:
                os.kill(process.pid, signal.SIGKILL)
                process.join()
                kills += 1
            else:
                assert process.exitcode == 0, bench.said(name)
            bench.require_readable(name)
        bench.require_same(name, "whole")
        assert bench.mlflow_status(name) == ["FINISHED"]


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_while_mlflow_makes_its_tables() -> None:
    from alembic.operations import Operations

    add_column, calls = Operations.add_column, []

    def third(*args: Any, **kwargs: Any) -> None:
        calls.append(args)
        die() if len(calls) == 3 else add_column(*args, **kwargs)

    Operations.add_column = third  # type: ignore[assignment, method-assign]


def die_before_the_id_of_the_mlflow_run_is_kept() -> None:
    mlflow_run.describe = die  # type: ignore[assignment]
    create_run = mlflow.MlflowClient.create_run

    def create_and_die(*args: Any, **kwargs: Any) -> None:
        create_run(*args, **kwargs)
        die()

    mlflow.MlflowClient.create_run = create_and_die  # type: ignore[assignment, method-assign]


def die_in_the_middle_of_a_checkpoint() -> None:
    write = checkpoints.torch.save

    def half(content: Any, file: Any) -> None:
        if Path(file.name).name == "last.pt" and re.fullmatch(
            rf"\..*-{os.getpid()}-\w+\.part", Path(file.name).parent.name
        ):
            file.write(b"PK half a checkpoint")
            file.flush()
            die()
        write(content, file)

    checkpoints.torch.save = half  # type: ignore[attr-defined, assignment]


def die_between_last_and_best() -> None:
    write = checkpoints.write

    def last_only(path: Any, *content: Any) -> None:
        die() if Path(path).name == "best.pt" else write(path, *content)

    checkpoints.write = last_only  # type: ignore[assignment]


def die_after_the_first_checkpoint() -> None:
    mlflow_store.Writer.run = lambda self: time.sleep(60)  # the thread has not come to write
    save = SaveRun.save

    def save_and_die(*args: Any) -> None:
        save(*args)
        die()

    SaveRun.save = save_and_die  # type: ignore[method-assign]


def die_before_the_model_is_published() -> None:
    SaveRun.publish = lambda self, trainer: die()  # type: ignore[method-assign]


def die_before_the_model_is_in_its_place() -> None:
    replace = os.replace

    def not_the_model(source: Any, target: Any) -> None:
        die() if Path(target).name == "worst.pt" else replace(source, target)

    atomic.os.replace = not_the_model  # type: ignore[attr-defined, assignment]


def die_before_the_mlflow_run_ends() -> None:
    mlflow.MlflowClient.set_terminated = die  # type: ignore[assignment, method-assign]


@pytest.mark.nightly
def test_killed_at_the_worst_moments(bench: Bench, tmp_path: Path) -> None:
    """One run, in a store of its own, dies in each of them before it ends."""
    moments = [
        die_while_mlflow_makes_its_tables,
        die_before_the_id_of_the_mlflow_run_is_kept,
        die_between_last_and_best,  # of the first epoch, which is always the best so far
        die_after_the_first_checkpoint,
        die_in_the_middle_of_a_checkpoint,
        die_before_the_model_is_published,
        die_before_the_model_is_in_its_place,
        die_before_the_mlflow_run_ends,
    ]
    uri = sqlite_uri(tmp_path)
    for moment in moments:
        assert bench.run("worst", moment, resume=True, tracking_uri=uri) == -signal.SIGKILL, moment.__name__
        bench.require_readable("worst")
    assert bench.run("worst", resume=True, tracking_uri=uri) == 0, bench.said("worst")
    bench.require_same("worst", "whole")
    client = mlflow.MlflowClient(uri)
    (experiment,) = [e for e in client.search_experiments() if e.name != "Default"]
    assert [run.info.status for run in client.search_runs([experiment.experiment_id])] == ["FINISHED"]
    assert not list(tmp_path.glob(".*.part"))


def test_accesses_that_fail(bench: Bench) -> None:
    """Three of all those of ``make test-crash``, one after the other in one run."""
    run_dir = bench.folder / "runs" / "faulty"
    for kind, which in (
        ("EIO", ("write", "best.pt")),
        ("ENOSPC", ("open", "last.pt")),
        ("EIO", ("replace", "card.json")),
    ):
        prepare = partial(arm, [run_dir], bench.folder / "faulty.io", kind, which)
        assert bench.run("faulty", prepare, resume=True) == 1, bench.said("faulty")
        said = require_one_sentence(bench.said("faulty"), bench.folder)
        assert f"error: {run_dir / which[1]} cannot be written" in said
        require_whole(run_dir)
    assert bench.run("faulty", resume=True) == 0, bench.said("faulty")
    bench.require_same("faulty", "whole")


def interrupt_step(number: int, wanted: int) -> None:
    """A signal in the middle of a step, when the gradients are there and the weights still the old ones."""
    step, calls = torch.optim.AdamW.step, []

    def interrupted(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(None)
        if len(calls) == wanted:
            os.kill(os.getpid(), number)
        return step(self, *args, **kwargs)

    torch.optim.AdamW.step = interrupted  # type: ignore[method-assign]


def interrupt_validation(number: int) -> None:
    call = OverlapTileInferer.__call__

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        os.kill(os.getpid(), number)
        return call(*args, **kwargs)

    OverlapTileInferer.__call__ = interrupted  # type: ignore[method-assign]


def test_a_signal_lets_the_step_end_and_saves_it(bench: Bench) -> None:
    """Epochs have 4 steps; the numbers of the steps are counted from where each process begins."""
    lives = [
        (partial(interrupt_step, signal.SIGINT, 2), 130, "SIGINT: saved epoch 1, step 2 of 4", 2),
        (partial(interrupt_step, signal.SIGTERM, 1), 143, "SIGTERM: saved epoch 1, step 3 of 4", 3),
        (partial(interrupt_step, signal.SIGTERM, 1), 143, "SIGTERM: saved epoch 1, step 4 of 4", 4),
        (partial(interrupt_validation, signal.SIGTERM), 143, "SIGTERM: saved epoch 1, step 4 of 4", 4),
        (partial(interrupt_step, signal.SIGTERM, 7), 143, "SIGTERM: saved epoch 3, step 3 of 4", 11),
    ]
    for prepare, code, told, iteration in lives:
        assert bench.run("asked", prepare, resume=True) == code, bench.said("asked")
        assert told in bench.said("asked")
        assert "Traceback" not in bench.said("asked")
        assert checkpoints.read(bench.folder / "runs" / "asked" / "last.pt")["iteration"] == iteration
        assert bench.mlflow_status("asked") == ["KILLED"]
    assert bench.run("asked", partial(interrupt_validation, signal.SIGTERM), resume=True) == 143
    assert checkpoints.read(bench.folder / "runs" / "asked" / "last.pt")["iteration"] == 12  # of the last epoch
    assert bench.run("asked", resume=True) == 0, bench.said("asked")
    bench.require_same("asked", "whole")
    assert bench.mlflow_status("asked") == ["FINISHED"]


@pytest.mark.nightly
def test_the_command_line(bench: Bench) -> None:
    """SIGTERM in the middle of an epoch, a kill of the resumed process at its start, and to the end."""
    options = {"samples_per_epoch": 40, "max_epochs": 2}
    given = bench.options | options | {"run_name": "term", "model_file": bench.folder / "term.pt"}
    command = [sys.executable, "-m", "monai.bundle", "run", "training", "--config_file", "configs/train.json"]
    command += [word for key, value in given.items() for word in (f"--{key}", str(value))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    pipes: dict[str, Any] = {"cwd": ROOT, "env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    run_dir = bench.folder / "runs" / "term"
    process = subprocess.Popen(command, text=True, **pipes)
    while process.poll() is None and not (run_dir / "history.csv").is_file():  # made in the first seconds of training
        time.sleep(0.05)
    process.terminate()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 143, err
    assert "Traceback" not in err
    assert out.splitlines()[-1].startswith("SIGTERM: saved epoch ")
    assert out.splitlines()[-1].endswith("repeat the command with --run_name term --resume true")
    assert 0 < checkpoints.read(run_dir / "last.pt")["iteration"] < 80
    assert bench.mlflow_status("term") == ["KILLED"]

    process = subprocess.Popen([*command, "--resume", "true"], **pipes)
    time.sleep(2)
    process.kill()
    process.communicate()
    assert bench.run("term", resume=True, **options) == 0, bench.said("term")
    assert bench.run("long", **options) == 0
    bench.require_same("term", "long")
    assert bench.mlflow_status("term") == ["FINISHED"]


def limit_files_after_the_first_epoch(size: int) -> None:
    save = SaveRun.save

    def save_and_limit(*args: Any) -> None:
        save(*args)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    SaveRun.save = save_and_limit  # type: ignore[method-assign]


@pytest.fixture(scope="module")
def wide(bench: Bench) -> dict[str, Any]:
    """Options of a run whose checkpoints are larger than all else that it writes, and that has been run."""
    options = {"base_channels": 8, "max_epochs": 2}
    assert bench.run("wide", **options) == 0
    return options


def test_a_checkpoint_that_does_not_fit(bench: Bench, wide: dict[str, Any]) -> None:
    run_dir = bench.folder / "runs" / "limited"
    assert bench.run("limited", partial(limit_files_after_the_first_epoch, 50_000), **wide) == 1
    require_full(bench.said("limited"), run_dir, "File too large")
    assert checkpoints.read(run_dir / "last.pt")["epoch"] == 1
    assert bench.run("limited", resume=True, **wide) == 0, bench.said("limited")
    bench.require_same("limited", "wide")
    assert bench.mlflow_status("limited")[0] == "FINISHED"


def test_a_full_disk(bench: Bench, wide: dict[str, Any], tmp_path: Path) -> None:
    best, last = (bench.folder.joinpath("runs", "wide", name).stat().st_size for name in ("best.pt", "last.pt"))
    # room for one last.pt, not for the old and the new one beside best.pt and the history
    mounted = ["mount", "-t", "tmpfs", "-o", f"size={best + 2 * last}", "tmpfs", str(tmp_path)]
    try:
        allowed = subprocess.run(mounted, capture_output=True, check=False).returncode == 0
    except OSError:
        allowed = False
    if not allowed:
        pytest.skip("mounting a small file system is not allowed here")
    options = {**wide, "output_dir": str(tmp_path), "tracking_uri": sqlite_uri(bench.folder / "runs")}
    try:
        assert bench.run("full", **options) == 1
        require_full(bench.said("full"), tmp_path / "full", "No space left on device")
        assert checkpoints.read(tmp_path / "full" / "last.pt")["epoch"] == 1
        subprocess.run(["mount", "-o", "remount,size=16m", str(tmp_path)], check=True)
        assert bench.run("full", resume=True, **options) == 0, bench.said("full")
        bench.require_same("full", "wide", tmp_path / "full")
    finally:
        subprocess.run(["umount", str(tmp_path)], check=False)


def require_full(said: str, run_dir: Path, reason: str) -> None:
    pattern = (
        rf"error: {run_dir}/(best|last)\.pt cannot be written \({reason}\): it needs 0\.\d MiB, [\d.]+ MiB are free; "
        rf"{run_dir}/last\.pt of epoch 1 stays\. To resume, make room and repeat the command with "
        rf"--run_name {run_dir.name} --resume true"
    )
    assert re.search(pattern, said), said[-3000:]


def open_a_run(uri: str, name: str, together: Any) -> None:
    together.wait()
    mlflow_run.open_run(uri, "together", name, mlflow_run.new_run())


@pytest.mark.nightly
def test_trainings_that_start_at_the_same_moment_share_a_new_store(bench: Bench, tmp_path: Path) -> None:
    together = bench.context.Barrier(3)
    uri = sqlite_uri(tmp_path)
    processes = [bench.context.Process(target=open_a_run, args=(uri, name, together)) for name in "abc"]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    client = mlflow.MlflowClient(uri)
    (experiment,) = [e for e in client.search_experiments() if e.name == "together"]
    assert sorted(run.info.run_name for run in client.search_runs([experiment.experiment_id])) == ["a", "b", "c"]


def engine_with(request: StopRequest, *signals: int) -> tuple[Engine, list[str]]:
    """An engine whose only step gets the signals; what it did."""
    did = []

    def step(engine: Engine, batch: Any) -> None:
        for number in signals:
            os.kill(os.getpid(), number)
        did.append("step")

    engine = Engine(step)
    request.guard(engine)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: did.append(f"wanted {request.wanted()}"))
    return engine, did


def test_one_signal_is_noted_and_a_second_ends_at_once() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    request = StopRequest()
    engine, did = engine_with(request)
    engine.run([0])
    assert did == ["step", "wanted False"]
    engine, did = engine_with(request, signal.SIGTERM)
    engine.run([0])
    assert did == ["step", "wanted True"]
    assert request.name == "SIGTERM"
    engine, did = engine_with(request, signal.SIGINT, signal.SIGTERM)
    with pytest.raises(SystemExit) as stopped:
        engine.run([0])
    assert stopped.value.code == 143
    assert did == []
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before

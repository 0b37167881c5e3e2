"""The command that starts the server and ends it with the window."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from seamless_annotator import __main__ as start
from seamless_annotator.server import Away, Server

from tests.conftest import PATIENCE, RealServer
from tests.display import NO_WINDOW


def test_the_server_ends_with_the_window(network, tmp_path, monkeypatch):
    (tmp_path / "studies").mkdir()
    server = RealServer(network(tmp_path / "app"), tmp_path / "studies")
    begun = []

    def show(address, process):
        assert process.poll() is None
        end = time.monotonic() + PATIENCE
        while not server.answers():
            assert time.monotonic() < end
            time.sleep(0.2)
        begun.append(Server(address).about())
        return 0

    run = subprocess.Popen
    monkeypatch.setattr(start, "_show", show)
    monkeypatch.setattr(subprocess, "Popen", lambda command, **more: run(command, env=server.environment, **more))
    assert start.main(["--server", server.url, "--", *server.command]) == 0
    assert begun
    with pytest.raises(Away):
        Server(server.url).about()


def test_a_training_is_saved_before_the_server_ends(monkeypatch):
    asked = []
    states = iter(["running", "running", "stopping", "stopped"])
    monkeypatch.setattr(Server, "training", lambda _: {"state": next(states)})
    monkeypatch.setattr(Server, "stop_training", lambda _: asked.append("stop"))
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    start.end("http://127.0.0.1:9", process)
    assert asked == ["stop"]
    assert next(states, None) is None
    assert process.poll() is not None


def test_a_port_that_is_taken_is_said_before_anything_starts(real, tmp_path):
    with pytest.raises(SystemExit, match="something answers at"):
        start.main(["--server", real.url, "--", "touch", str(tmp_path / "begun")])
    assert not (tmp_path / "begun").exists()


@pytest.mark.skipif(bool(NO_WINDOW), reason=NO_WINDOW)
def test_a_server_that_ends_at_once_ends_the_window():
    command = [sys.executable, "-m", "seamless_annotator", "--server", "http://127.0.0.1:9", "--"]
    done = subprocess.run(
        [*command, sys.executable, "-c", "raise SystemExit(3)"], capture_output=True, text=True, timeout=PATIENCE
    )
    assert (done.returncode, "the server has ended with status 3" in done.stderr) == (1, True), done.stderr

"""napari with the widget: ``python -m seamless_annotator --server http://127.0.0.1:8000``.

With ``-- COMMAND`` the server is started before and ended with the window.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time

import requests

from seamless_annotator.server import AT_WORK, Away, Refused, Server

#: seconds that a training may need for the step in work, and the server to end
_STEP, _END = 300, 20


def main(arguments: list[str] | None = None) -> int:
    """Open napari, wait until its window is closed, and end the server where it was started here."""
    parser = argparse.ArgumentParser(prog="python -m seamless_annotator", description=__doc__.splitlines()[0])
    parser.add_argument("--server", default="http://127.0.0.1:8000", help="its address")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- and the command that starts the server")
    given = parser.parse_args(arguments)
    command = given.command[1:] if given.command[:1] == ["--"] else given.command
    process = None
    if command:
        if _answers(given.server):
            sys.exit(
                f"error: something answers at {given.server} already: open it with python -m seamless_annotator "
                f"--server {given.server}, or start another one with LABEL_PORT=8001"
            )
        process = subprocess.Popen(command, start_new_session=True)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _close)
    try:
        return _show(given.server, process)
    finally:
        if process is not None:
            end(given.server, process)


def end(address: str, process: subprocess.Popen[bytes]) -> None:
    """Let a training save its step, then end the server and all that it has started."""
    server = Server(address)
    try:
        if server.training()["state"] in AT_WORK:
            print("the training is stopped and saved ...", flush=True)
            server.stop_training()
            until = time.monotonic() + _STEP
            while server.training()["state"] in ("running", "stopping") and time.monotonic() < until:
                time.sleep(0.5)
    except (Away, Refused):
        pass
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(_END)
            break
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue


def _close(number: int, frame: object) -> None:
    """As if the window had been closed: drafts are written, and the server ends."""
    from qtpy.QtWidgets import QApplication

    if QApplication.instance() is None:
        sys.exit(128 + number)
    QApplication.instance().quit()


def _answers(address: str) -> bool:
    try:
        requests.get(address, timeout=5)
    except requests.RequestException:
        return False
    return True


def _show(address: str, process: subprocess.Popen[bytes] | None) -> int:
    """The exit status: 1 when the server has ended before anybody could use it."""
    import napari  # a second or two, and a display
    from qtpy.QtCore import QTimer
    from qtpy.QtWidgets import QApplication

    from seamless_annotator.widget import Annotator

    viewer = napari.Viewer(title="Correct cells")
    widget = Annotator(viewer, address)
    viewer.window.add_dock_widget(widget, name="Correct cells", area="right")
    failed = []

    def look() -> None:
        if process is not None and process.poll() is not None and widget.session is None:
            failed.append(process.returncode)
            QApplication.instance().quit()

    timer = QTimer(interval=500)
    timer.timeout.connect(look)
    timer.start()
    napari.run()
    if failed:
        print(f"error: the server has ended with status {failed[0]}; why is said above", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

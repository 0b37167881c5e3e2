"""A run's folder: unique, never written over, found again to resume."""

import getpass
import subprocess
import sys

import pytest

from bundle.tracking import run_folder
from bundle.tracking.run_folder import open_run
from tests.conftest import ROOT


def test_names_are_unique(tmp_path):
    assert len({open_run(tmp_path) for _ in range(5)}) == 5


def test_a_user_without_a_name(tmp_path, monkeypatch):
    """As in a container: ``docker run --user 1234``."""
    monkeypatch.setattr(getpass, "getuser", lambda: {}[1234])
    assert open_run(tmp_path, "first") == str(tmp_path / "first")


def test_a_number_is_a_name(tmp_path):
    assert open_run(tmp_path, 7) == str(tmp_path / "7")


def test_a_run_that_ended_before_its_first_checkpoint(tmp_path):
    (tmp_path / "first").mkdir()
    record(tmp_path / "first", 1)
    with pytest.raises(FileExistsError, match="ended before its first checkpoint: add --resume true"):
        open_run(tmp_path, "first")
    assert open_run(tmp_path, "first", resume=True) == str(tmp_path / "first")


def record(folder, epoch):
    (folder / "history.csv").write_text(f"time,iteration,epoch,name,value\n0.0,{epoch},{epoch},train/loss,1.0\n")


def test_a_training_that_ended_before_its_first_step_does_not_keep_the_name(tmp_path):
    folder = tmp_path / "first"
    (folder / ".host-1-ab.part").mkdir(parents=True)
    for name in ("card.json", "history.csv", "mlflow_run_id.txt"):
        (folder / name).touch()
        assert open_run(tmp_path, "first") == str(folder)
    (folder / "notes.txt").touch()
    with pytest.raises(FileExistsError, match="add --resume true"):
        open_run(tmp_path, "first")


def test_a_run_that_has_lost_its_checkpoint_does_not_begin_again(tmp_path):
    folder = tmp_path / "first"
    folder.mkdir()
    record(folder, 1)
    assert open_run(tmp_path, "first", resume=True) == str(folder)  # killed in its first epoch
    record(folder, 2)
    with pytest.raises(ValueError, match=r"has 2 epochs of history.csv, but no last.pt, .* put a copy of last.pt back"):
        open_run(tmp_path, "first", resume=True)
    (folder / "best.pt").touch()
    with pytest.raises(ValueError, match=r"has best.pt and 2 epochs of .*another run_name, or remove .*first to start"):
        open_run(tmp_path, "first", resume=True)
    (folder / "history.csv").unlink()
    with pytest.raises(ValueError, match=r"has best.pt, but no last.pt"):
        open_run(tmp_path, "first", resume=True)
    (folder / "last.pt").touch()
    assert open_run(tmp_path, "first", resume=True) == str(folder)


def test_nothing_is_left_of_a_training_that_is_refused(tmp_path):
    assert open_run(tmp_path, "first") == open_run(tmp_path, "first")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.nightly
def test_two_processes_do_not_train_one_run(tmp_path, monkeypatch):
    """Both may have said --resume true, as queues do; the second gets the run when the first has been killed."""
    monkeypatch.setattr(run_folder, "_PATIENCE", 0.2)
    code = "import sys; from bundle.tracking.run_folder import open_run; "
    code += "run = open_run(sys.argv[1], 'one', True); print('open')"
    command = [sys.executable, "-c", f"{code}; sys.stdout.flush(); sys.stdin.read()", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "open\n"
        with pytest.raises(BlockingIOError, match="one is being trained by another process: wait for it, end it, or"):
            open_run(tmp_path, "one", resume=True)
        assert open_run(tmp_path, "two", resume=True) == str(tmp_path / "two")
        other.kill()
        other.wait()
        mine = open_run(tmp_path, "one", resume=True)
        assert mine == open_run(tmp_path, "one", resume=True) == str(tmp_path / "one")  # to this process it is open
    again = [sys.executable, "-c", code, str(tmp_path)]
    later = {"cwd": ROOT, "capture_output": True, "text": True}
    impatient = f"from bundle.tracking import run_folder; run_folder._PATIENCE = 0; {code}"
    refused = subprocess.run([*again[:2], impatient, again[3]], **later)
    assert "BlockingIOError" in refused.stderr
    del mine  # as when a training within a server ends
    assert subprocess.run(again, **later).stdout == "open\n"


def test_an_existing_run_is_not_written_over(tmp_path):
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "last.pt").touch()
    with pytest.raises(FileExistsError, match="add --resume true"):
        open_run(tmp_path, "first")


def test_resuming_what_is_not_there_begins_it_and_names_what_is(tmp_path, caplog):
    path = open_run(tmp_path, "first", resume=True)
    assert f"there is no run {path} yet: it starts from the beginning; runs here: none" in caplog.text
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "last.pt").touch()
    caplog.clear()
    assert open_run(tmp_path, "first", resume=True) == path
    assert caplog.text == ""
    open_run(tmp_path, "frist", resume=True)
    assert "runs here: first" in caplog.text
    with pytest.raises(ValueError, match="resume needs run_name: one of first"):
        open_run(tmp_path, resume=True)


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "a b"])
def test_names_are_folder_names(tmp_path, name):
    with pytest.raises(ValueError, match="run_name must be letters"):
        open_run(tmp_path, name)


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_folder_that_cannot_be_written(tmp_path, place):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="cannot be written"):
        open_run(tmp_path / place)
    assert (tmp_path / "file").read_text() == "in the way"

"""A run's folder: unique, never written over, found again to resume."""

import pytest

from bundle.runs import open_run, switch


def test_names_are_unique(tmp_path):
    assert len({open_run(tmp_path) for _ in range(5)}) == 5


def test_a_number_is_a_name(tmp_path):
    assert open_run(tmp_path, 7) == str(tmp_path / "7")


def test_a_run_that_failed_before_its_first_checkpoint(tmp_path):
    open_run(tmp_path, "first")
    with pytest.raises(FileExistsError, match="ended before its first checkpoint: choose another run_name"):
        open_run(tmp_path, "first")


@pytest.mark.parametrize(("value", "expected"), [(True, True), ("true", True), ("False", False), (False, False)])
def test_switch(value, expected):
    assert switch(value) is expected


def test_an_existing_run_is_not_written_over(tmp_path):
    open_run(tmp_path, "first")
    (tmp_path / "first" / "last.pt").touch()
    with pytest.raises(FileExistsError, match="add --resume true"):
        open_run(tmp_path, "first")


def test_resuming_needs_a_checkpoint(tmp_path):
    path = open_run(tmp_path, "first")
    with pytest.raises(FileNotFoundError, match=r"nothing to resume.*runs here: none"):
        open_run(tmp_path, "first", resume=True)
    (tmp_path / "first" / "last.pt").touch()
    assert open_run(tmp_path, "first", resume=True) == path
    with pytest.raises(FileNotFoundError, match="runs here: first"):
        open_run(tmp_path, "other", resume=True)
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

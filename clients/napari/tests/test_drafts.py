"""Drafts on disk: whole or not at all, never another window's."""

import os

import numpy as np
import pytest
import tifffile
from seamless_annotator.drafts import Drafts, folder_of_drafts

NUMBERS = np.arange(24, dtype=np.int32).reshape(2, 3, 4)


def test_there_and_back(tmp_path):
    drafts = Drafts(tmp_path / "drafts")
    assert (drafts.load("a"), drafts.states()) == (None, {})
    for name in ("a b", "../outside", "é%2F", "plain"):
        drafts.save(name, NUMBERS, {"edited": name != "plain", "version": "v", "classes": ["µ"]})
        numbers, about = Drafts(tmp_path / "drafts").load(name)
        np.testing.assert_array_equal(numbers, NUMBERS)
        assert (about["version"], about["classes"]) == ("v", ["µ"])
    assert {file.parent for file in tmp_path.rglob("*.tif")} == {tmp_path / "drafts"}
    assert drafts.states() == {"a b": "draft", "../outside": "draft", "é%2F": "draft", "plain": "proposed"}
    drafts.discard("plain")
    assert "plain" not in drafts.states()


def test_a_draft_that_cannot_be_written_leaves_the_one_before(tmp_path, monkeypatch):
    drafts = Drafts(tmp_path)
    drafts.save("a", NUMBERS, {})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        drafts.save("a", NUMBERS + 1, {})
    np.testing.assert_array_equal(Drafts(tmp_path).load("a")[0], NUMBERS)
    assert [file.name for file in tmp_path.iterdir()] == ["a.tif"]


def test_a_draft_of_another_window_is_kept(tmp_path):
    one, other = Drafts(tmp_path), Drafts(tmp_path)
    one.save("a", NUMBERS, {})
    other.save("a", NUMBERS + 1, {})  # it has not read the first
    one.save("a", NUMBERS + 2, {})
    kept = sorted(tifffile.imread(file)[0, 0, 0] for file in tmp_path.glob("*.kept.tif"))
    assert kept == [0, 1]
    other.discard("a")
    assert (tmp_path / "a.tif").is_file()
    one.discard("a")
    assert (one.states(), len(list(tmp_path.iterdir()))) == ({}, 2)


def test_a_damaged_draft_is_set_aside(tmp_path):
    drafts = Drafts(tmp_path)
    drafts.save("a", NUMBERS, {})
    (tmp_path / "a.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:60])
    assert Drafts(tmp_path).load("a") is None
    assert [file.name for file in tmp_path.iterdir()] == ["a.1.kept.tif"]


def test_drafts_lie_beside_the_images_where_these_are_here(tmp_path, monkeypatch):
    (tmp_path / "a.tif").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert folder_of_drafts("http://127.0.0.1:8000", str(tmp_path), "a.tif") == tmp_path / "drafts"
    elsewhere = tmp_path / "home" / ".seamless-annotator"
    assert folder_of_drafts("http://10.0.0.7:8000", str(tmp_path), "a.tif").is_relative_to(elsewhere)
    assert folder_of_drafts("http://127.0.0.1:8000", str(tmp_path), "b.tif").is_relative_to(elsewhere)

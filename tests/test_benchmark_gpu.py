"""The script for a machine with a GPU, rehearsed on a CPU at a tiny size."""

from __future__ import annotations

import pytest
import tifffile

from benchmarks import gpu
from tests.docs.sandbox import make_data


@pytest.mark.nightly
def test_the_rehearsal_leaves_a_report_tables_and_maps(tmp_path):
    make_data(tmp_path / "data")
    words = ["--em", tmp_path / "data/data/isbi2012", "--dic", tmp_path / "data/data/DIC-C2DH-HeLa"]
    where = ["--out", tmp_path / "out", "--device", "cpu", "--tiny", "--parts", "times", "em", "dic"]
    status = gpu.main([str(word) for word in (*words, *where)])
    log = (tmp_path / "out" / "log.txt").read_text()
    assert status == 0, log
    kept = {path.name for path in (tmp_path / "out").iterdir()}
    assert kept == {
        *("report.md", "times.md", "log.txt"),
        *(f"{name}_{what}" for name in ("em", "dic") for what in ("history.csv", "maps.tif")),
    }
    report = (tmp_path / "out" / "report.md").read_text()
    assert "training step, 60 px, width 2" in report
    assert "| em | v_rand | 0." in report
    assert "| dic | iou | 0." in report
    assert tifffile.imread(tmp_path / "out" / "em_maps.tif").dtype == "uint8"


def test_one_that_fails_or_takes_too_long_does_not_end_the_others(tmp_path, monkeypatch):
    parts = [
        gpu.Part("bad", ["no_such_module"], 30),
        gpu.Part("slow", ["timeit", "-n1", "-r1", "import time; time.sleep(60)"], 1),
    ]
    monkeypatch.setattr(gpu, "parts_of", lambda *_: parts)
    assert gpu.main(["--out", str(tmp_path)]) == 1
    report = (tmp_path / "report.md").read_text()
    assert "| bad | failed (1), " in report
    assert "| slow | stopped at its limit of 1 s, " in report
    assert "No module named no_such_module" in (tmp_path / "log.txt").read_text()

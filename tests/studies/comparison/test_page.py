"""The page and runs.csv, read back."""

from __future__ import annotations

import re

import pytest

from bundle.report import main
from bundle.studies.comparison import write_report
from tests.conftest import ROOT
from tests.studies.comparison.conftest import Hand
from tests.studies.comparison.reading import images, rows, tables, text, tree

EVIL = "<script>alert('x')</script> & \"co\""


def test_what_differs_is_in_the_table_and_the_best_is_marked(hand, tmp_path):
    hand.training("slow", {"val/loss": [0.6, 0.5], "val/iou": [0.1, 0.2], "train/loss": [2, 1]}, lr=0.1, depth=4)
    hand.training("fast", {"val/loss": [0.3, 0.4], "val/iou": [0.15, 0.9], "train/loss": [4, 3]}, lr=0.2, depth=4)
    page = write_report(hand.uri, output=tmp_path / "out", metric="iou")
    assert tables(page) == {
        "Trainings": [
            {"run": "1 slow", "lr": "0.1", "iou": "0.2000*", "loss": "0.5000", "train/loss": "1.000*"}
            | {"kept at": "2 of 2", "time": "0:00 min"},
            {"run": "2 fast", "lr": "0.2", "iou": "0.1500", "loss": "0.3000*", "train/loss": "3.000"}
            | {"kept at": "1 of 2", "time": "0:00 min"},
        ]
    }
    shared = tree(page).findall(".//dl/div")
    assert [text(entry) for entry in shared] == ["seed0", "best_byloss", "depth4"]
    assert page.name == "index.html"
    names = [figure.attrib["alt"].split(" of ")[0] for figure in tree(page).findall(".//*[@class='charts']/figure/img")]
    assert names == ["train/loss", "val/loss", "val/iou"]


def test_seeds_are_one_row_of_the_page_and_of_the_csv(hand, tmp_path):
    for seed, loss in ((0, 0.2), (1, 0.4)):
        hand.training(f"narrow-{seed}", {"val/loss": [loss]}, seed=seed)
    page = write_report(hand.uri, output=tmp_path)
    (group, first, second) = tables(page)["Trainings"]
    assert (group["run"], group["seed"], group["loss"]) == ("1 narrow 2 runs", "0, 1", "0.3000 ± 0.1414")
    assert [(line["run"], line["seed"], line["loss"]) for line in (first, second)] == [
        ("narrow-0", "0", "0.2000"), ("narrow-1", "1", "0.4000")
    ]  # fmt: skip
    written = rows(page)
    assert [(line["name"], line["runs"], line["setting.seed"]) for line in written] == [
        ("narrow", "2", "0, 1"), ("narrow-0", "1", "0"), ("narrow-1", "1", "1")
    ]  # fmt: skip
    assert float(written[0]["loss"]) == pytest.approx(0.3)
    assert float(written[0]["loss.std"]) == pytest.approx(0.02**0.5)
    assert (written[1]["loss"], written[1]["loss.std"], written[1]["status"]) == ("0.2", "", "FINISHED")


def test_evaluations_are_called_after_their_training_and_share_its_settings_and_colour(hand, tmp_path):
    wide = hand.training("wide", lr=0.1, seed=3)
    narrow = hand.training("narrow", {"val/loss": [0.1]}, lr=0.2, seed=3)
    hand.evaluation(wide, {"x": 0.5, "y": 0.1}, averaging="none")
    hand.evaluation(wide, {"x": 0.3, "y": 0.1}, averaging="d4")
    hand.evaluation(narrow, {"x": 0.1, "y": 0.1}, averaging="none")
    page = write_report(hand.uri, output=tmp_path, images=1)
    assert list(tables(page)) == ["Trainings", "Evaluations on held_out"]
    assert [line["run"] for line in tables(page)["Trainings"]] == ["1 narrow", "2 wide"]
    assert tables(page)["Evaluations on held_out"] == [
        {"run": "1 narrow", "lr": "0.2", "tta": "none", "rand_error": "0.1000*"},
        {"run": "2 wide (tta d4)", "lr": "0.1", "tta": "d4", "rand_error": "0.2000"},
        {"run": "2 wide (tta none)", "lr": "0.1", "tta": "none", "rand_error": "0.3000"},
    ]
    assert [caption for caption, _ in images(page)["x"]] == [
        "image",
        "truth2 cells",
        "1 narrow3 cells · 0.1",
        "2 wide (tta d4)3 cells · 0.3",
        "2 wide (tta none)3 cells · 0.5",
    ]


def test_the_worst_images_come_first_and_no_more_than_asked(hand, tmp_path):
    for name in ("a", "b"):
        hand.evaluation(hand.training(name, width=name), {"good": 0.9, "bad": 0.2, "fair": 0.6}, metric="seg")
    assert list(images(write_report(hand.uri, output=tmp_path, images=2))) == ["bad", "fair"]
    assert images(write_report(hand.uri, output=tmp_path, images=0)) == {}


def test_runs_that_did_not_finish_are_marked(hand, tmp_path):
    for status in ("FAILED", "KILLED", "RUNNING", "FINISHED"):
        hand.training(status.lower() + "-run", lr=status, status=status, tags={"exception": "disk full"})
    page = write_report(hand.uri, output=tmp_path)
    badges = {line["run"].split()[1]: line["run"].split()[2:] for line in tables(page)["Trainings"]}
    assert badges == {
        "failed-run": ["failed"], "killed-run": ["killed"], "running-run": ["running"], "finished-run": []
    }  # fmt: skip
    assert "1 failed 1 killed 1 running" in text(tree(page).find("body/header"))  # type: ignore[arg-type]


def test_what_forbids_a_comparison_is_said(hand, tmp_path):
    hand.training("a")
    hand.training("b", **{"provenance.data_fingerprint": "beef"})
    hand.training("c", **{"provenance.git_commit": "dead", "config.fold": 1})
    page = write_report(hand.uri, output=tmp_path)
    data, split, code = [text(note) for note in tree(page).findall("body/aside//li")]
    assert "different data" in data
    assert "f00d: a, c; beef: b" in data
    assert "another split or fold): split 1: a; split 2: c" in split
    assert "c0de: a, b; dead: c" in code
    lines = tables(page)["Trainings"]
    assert {line["run"][2:]: (line["data"], line["code"]) for line in lines} == {
        "a": ("f00d", "c0de"), "b": ("beef", "c0de"), "c": ("f00d", "dead")
    }  # fmt: skip
    assert not any(line["loss"].endswith("*") for line in lines)


def test_nothing_is_said_where_all_is_alike(hand, tmp_path):
    hand.training("a", seed=0)
    hand.training("b", seed=1)
    page = write_report(hand.uri, output=tmp_path)
    assert tree(page).find("body/aside") is None
    assert not {"data", "code"} & set(tables(page)["Trainings"][0])


def test_a_network_may_be_measured_on_other_images_than_it_saw(hand, tmp_path):
    training = hand.training("a", base_channels=16, workers="$workers_for(@device)", check_page="x.html", minutes=None)
    hand.evaluation(training, {"x": 0.5}, **{"provenance.data_fingerprint": "beef"})
    page = write_report(hand.uri, output=tmp_path)
    assert tree(page).find("body/aside") is None
    shared = [text(name) for name in tree(page).findall("body/section/dl/div/dt")]
    assert "base_channels" in shared
    assert not {"workers", "check_page", "minutes"} & set(shared)  # expressions, places, what is not set


def test_names_are_escaped(hand, tmp_path):
    training = hand.training(EVIL, None, {"exception": EVIL}, "FAILED", lr=EVIL)
    hand.training("plain", lr="0.1")
    hand.evaluation(training, {"<b>x": 0.5})
    page = write_report(hand.uri, output=tmp_path)
    source = page.read_text(encoding="utf-8")
    assert "<script" not in source
    assert "<b>x" not in source
    assert EVIL in text(tree(page))
    assert EVIL in [element.attrib.get("title") for element in tree(page).iter("span")]
    assert "<b>x" in images(page)


def test_the_page_needs_nothing_from_elsewhere(hand, tmp_path):
    hand.evaluation(hand.training("a"), {"x": 0.5})
    page = tree(write_report(hand.uri, output=tmp_path))
    sources = {element.get("src") or element.get("href") for element in page.iter()} - {None}
    assert {source.partition(",")[0] for source in sources if source} == {
        "data:image/svg+xml;base64", "data:image/jpeg;base64", "runs.csv"
    }  # fmt: skip
    assert page.find(".//script") is None
    assert page.find(".//link") is None


def test_the_newest_experiment_is_taken_and_the_others_are_named(hand, tmp_path):
    hand.training("old")
    newer = Hand(tmp_path / "store", "nuclei")
    newer.client.create_run(newer.experiment_id, start_time=4_000_000_000_000, run_name="new")
    page = write_report(hand.uri, output=tmp_path / "out")
    assert text(tree(page).find("body/header/h1")) == "nuclei"  # type: ignore[arg-type]
    assert "Other experiments of this store: cells." in text(tree(page))
    assert text(tree(write_report(hand.uri, "cells", output=tmp_path / "out")).find(".//h1")) == "cells"  # type: ignore[arg-type]


def test_the_command_line(hand, tmp_path, capsys):
    hand.training("a", lr=1)
    hand.training("b", lr=2)
    main(["--tracking_uri", hand.uri, "--runs", "b", "--output", str(tmp_path / "out")])
    page = tmp_path / "out" / "index.html"
    assert capsys.readouterr().out.startswith(f"{page} (")
    assert [line["name"] for line in rows(page)] == ["b"]


def test_it_fits_a_phone():
    """A column that asks for more than 340 px asks for no more than there is; tables scroll by themselves."""
    style = (ROOT / "bundle" / "studies" / "comparison" / "page.css").read_text()
    assert all(int(width) <= 340 for width in re.findall(r"minmax\((\d+)px", style))
    assert re.search(r"\.scroll \{[^}]*overflow-x: auto", style)


def test_classes_have_a_legend_and_charts_of_their_means(hand, tmp_path):
    course = {
        "train/loss": [2],
        "val/iou/mean": [0.5],
        "val/iou/rod": [0.4],
        "val/best_iou/mean": [0.5],
        "val/loss": [1],
    }
    training = hand.training("a", course, best_by="iou/mean")
    evaluation = hand.evaluation(training, {"x": 0.5}, metric="iou/mean", boxes=False)
    hand.picture(evaluation, "x_0001.png", 50, classes=("ground", "rod"))
    page = write_report(hand.uri, output=tmp_path)
    (legend,) = tree(page).findall(".//p[@class='legend classes']")
    assert [text(span) for span in legend.findall("span")] == ["ground", "rod"]
    colours = [mark.attrib["style"] for mark in legend.findall("span/i")]
    assert len(set(colours)) == 2
    assert all(re.fullmatch(r"background: #[0-9a-f]{6}", colour) for colour in colours)
    (line,) = tables(page)["Trainings"]
    assert (line["iou/mean"], line["iou/rod"]) == ("0.5000", "0.4000")
    assert "best_iou/mean" not in line
    names = [figure.attrib["alt"].split(" of ")[0] for figure in tree(page).findall(".//*[@class='charts']/figure/img")]
    assert names == ["train/loss", "val/loss", "val/iou/mean"]

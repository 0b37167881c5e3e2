"""Kernels chosen by the branch that does least: the search on made-up networks, the command on runs made by hand."""

import csv
import math

import pytest

from bundle.studies.feature_maps.kernel_search import main, search
from tests.studies.conftest import STUDY
from tests.studies.feature_maps.conftest import KERNELS

ONE, TWO = {"F1": 3.0, "F2": 2.0, "F3": 1.0}, {"F1": 3.0, "F2": 0.5, "F3": 1.0}


def searched(table, start=(4, 8, 16), **options):
    steps, why = search(start, lambda kernels: table[kernels], **options)
    return [step.kernels for step in steps], why


def test_the_branch_that_does_least_shrinks_until_it_gets_no_better():
    table = {(4, 8, 16): (0.5, ONE), (4, 8, 14): (0.6, TWO), (4, 6, 14): (0.7, ONE), (4, 6, 12): (0.7, ONE)}
    trained, why = searched(table)
    assert trained == [(4, 8, 16), (4, 8, 14), (4, 6, 14), (4, 6, 12)]
    assert "no better" in why
    trained, _ = searched({kernels: (-value, least) for kernels, (value, least) in table.items()}, lower=True)
    assert trained == list(table)


def test_a_kernel_is_never_smaller_than_its_stride():
    table = {(4, 8, 10): (0.5, ONE), (4, 8, 8): (0.6, ONE)}
    trained, why = searched(table, (4, 8, 10), shrink=4)
    assert trained == list(table)
    assert why == "the kernel of F3 is as small as its stride"


def test_a_statistic_that_no_map_has_is_named():
    with pytest.raises(ValueError, match="so no map has a frequency"):
        searched({(4, 8, 16): (0.5, {"F1": math.nan})}, statistic="frequency")


@pytest.mark.parametrize("shrink", [0, 3, -2])
def test_a_step_that_fits_no_kernel_is_refused(shrink):
    with pytest.raises(ValueError, match=f"shrink must be an even number of px of at least 2, got {shrink}"):
        searched({}, shrink=shrink)


def test_the_command_reads_validation_images_and_measures_the_best(finished, study_file, cells, tmp_path, capsys):
    evaluation = {**STUDY["evaluation"], "reference_tta": ["none", "d4"]}
    runs, path = tmp_path / "runs", study_file(**KERNELS, seeds=[0], evaluation=evaluation)
    parts = ("held_out", "validation")
    finished("4-8-16", 0, 0.5, parts=parts, kernels=[4, 8, 16])
    for part in parts:  # the reference has more test-time augmentations than what it is compared with
        (runs / "tiny-4-8-16-s0" / "evaluation" / f"{part}-d4").mkdir()
        (runs / "tiny-4-8-16-s0" / "evaluation" / f"{part}-d4" / "summary.csv").write_text("metric,value\niou,0.1\n")
    for kernels in ([2, 8, 16], [4, 6, 16], [4, 8, 14]):  # whichever branch does least
        finished("-".join(map(str, kernels)), 0, 0.4, parts=parts, kernels=kernels)
    command = ["--study", str(path), "--dataset_dir", str(cells), "--output_dir", str(runs), "--accept_changes"]
    assert main([*command, "--metric", "iou", "--by", "leftover", "--images", "2"]) == 0
    printed = capsys.readouterr().out
    assert "It ended after 2 triples because the validation images say that it got no better" in printed
    assert "iou on part held_out of the first and of the best triple: 4, 8, 16: 0.5000." in printed
    lines = list(csv.DictReader((runs / "tiny" / "kernel_search" / "leftover.csv").open()))
    assert [line["validation iou"] for line in lines] == ["0.5", "0.4"]
    least = min(("F1", "F2", "F3"), key=lambda name: float(lines[0][f"leftover of {name}"]))
    assert lines[0]["does least"] == least
    before, after = ([int(number) for number in line["kernels"].split(", ")] for line in lines)
    assert [a - b for a, b in zip(before, after, strict=True)] == [2 * (name == least) for name in ("F1", "F2", "F3")]

    (runs / "tiny" / "kernel_search").rename(runs / "moved")
    (runs / "tiny" / "kernel_search").touch()
    assert main([*command, "--metric", "iou", "--by", "leftover", "--images", "2"]) == 2
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize(
    ("entries", "option", "message"),
    [
        ({"grid": None}, [], "study tiny has no grid of kernels"),
        ({}, ["--metric", "io"], "study tiny has no metric 'io': did you mean iou"),
        ({}, ["--part", "held_out"], "--part is an option of a study that the search does not have"),
        ({}, ["--minutes", "5"], "--minutes is an option of a study"),
        ({}, ["--variants", "no_F3"], "--variants is an option of a study"),
    ],
)
def test_what_is_no_search_is_refused(entries, option, message, study_file, tmp_path, capsys):
    path = study_file(**{**KERNELS, **entries})
    assert main(["--study", str(path), "--output_dir", str(tmp_path), *option]) == 2
    assert message in capsys.readouterr().err

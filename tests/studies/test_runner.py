"""What is run, in which order, and what is not run again: with a stand-in for the bundle's command line."""

import json
import os
import re
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import mlflow
import pytest

from bundle.studies.__main__ import main
from bundle.studies.processes import exclusive
from bundle.studies.summary import read_values
from bundle.tracking import sqlite_uri
from tests.studies.conftest import STUDY

LAUNCHER = (sys.executable, str(Path(__file__).with_name("stand_in.py")))
#: three variants; the stand-in measures by their first letters
VARIANTS = {**STUDY["variants"], "c-last": {"options": {"weight_map#sigma": 3.0}}}


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """Made once: MLflow needs seconds to make the tables of a store."""
    folder = tmp_path_factory.mktemp("store")
    mlflow.MlflowClient(sqlite_uri(folder)).search_experiments()
    return folder / "mlflow.db"


@pytest.fixture
def run(study_file, cells, empty_store, tmp_path, capfd):
    """``python -m bundle.studies`` on a study of these entries; gives exit code, what it printed, and the journal."""

    (tmp_path / "runs").mkdir()
    shutil.copy(empty_store, tmp_path / "runs")

    def call(*arguments, **entries):
        path = study_file(**entries)
        places = ["--dataset_dir", str(cells), "--output_dir", str(tmp_path / "runs")]
        code = main(["--study", str(path), *places, *arguments], LAUNCHER)
        journal = tmp_path / "runs" / "journal.txt"
        lines = journal.read_text().splitlines() if journal.is_file() else []
        journal.unlink(missing_ok=True)
        printed = capfd.readouterr()
        return code, printed.out + printed.err, lines

    return call


def test_every_run_once_the_seeds_outermost(run, tmp_path):
    evaluation = {**STUDY["evaluation"], "tta": ["none"], "reference_tta": ["none", "d4"]}
    code, printed, journal = run(variants=VARIANTS, evaluation=evaluation)
    assert code == 0
    assert journal == [
        line
        for seed in (0, 1)
        for line in (
            f"training tiny-all-s{seed}",
            f"evaluating tiny-all-s{seed}-held_out-none",
            f"evaluating tiny-all-s{seed}-held_out-d4",
            f"training tiny-border-s{seed}",
            f"evaluating tiny-border-s{seed}-held_out-none",
            f"training tiny-c-last-s{seed}",
            f"evaluating tiny-c-last-s{seed}-held_out-none",
        )
    ]
    assert "[3/6] tiny-c-last-s0: training\n" in printed
    assert "| c-last | none | +0.02000 ± 0.00000 (2/2 worse) | −0.0400 ± 0.0000 (2/2 worse) |" in printed
    rows = {
        (*row[:2], *row[3:6]): row
        for row in read_values(tmp_path / "runs" / "tiny" / "study.csv").itertuples(index=False)
    }
    row = rows["border", 1, "held_out", "none", "pixel_error"]
    assert row[6:] == (pytest.approx(0.111), pytest.approx(0.6), "id-of-tiny-border-s1-held_out-none")
    assert len(rows) == 2 * 2 * 4
    assert run(variants=VARIANTS, evaluation=evaluation)[::2] == (0, [])  # nothing is done twice


def test_a_run_that_fails_does_not_stop_the_others(run, tmp_path):
    variants = {**STUDY["variants"], "broken": {"options": {"weight_map#sigma": 3.0}}}
    code, printed, journal = run("--jobs", "2", variants=variants, seeds=[0])
    assert code == 1
    assert "tiny-broken-s0 failed, exit code 3; the end of" in printed
    assert "line 29\nerror: broken on purpose" in printed
    assert "line 9\n" not in printed  # the end of the log only; the log has all
    assert "line 9\n" in (tmp_path / "runs" / "tiny" / "logs" / "tiny-broken-s0.log").read_text()
    assert {line for line in journal if "evaluating" in line} == {
        "evaluating tiny-all-s0-held_out-none",
        "evaluating tiny-border-s0-held_out-none",
    }
    assert run(variants=variants, seeds=[0])[2] == ["training tiny-broken-s0 again"]


def test_no_training_begins_after_the_minutes_given(run):
    code, printed, journal = run("--minutes", "0")
    assert (code, journal) == (0, [])
    assert "not started, repeat the command to resume: tiny-all-s0, tiny-border-s0, tiny-all-s1" in printed


def test_other_seeds_and_some_variants_join_the_same_tables(run, tmp_path):
    run(seeds=[0])
    _, printed, journal = run("--variants", "['border']", "--seeds", "[5]", seeds=[0])
    assert journal == ["training tiny-border-s5", "evaluating tiny-border-s5-held_out-none"]
    assert "| without border weight | none | 2 |" in printed
    _, _, journal = run("--part", "validation", "--variants", "all,border", seeds=[0])
    assert journal == ["evaluating tiny-all-s0-validation-none", "evaluating tiny-border-s0-validation-none"]
    parts = [row.part for row in read_values(tmp_path / "runs" / "tiny" / "study.csv").itertuples(index=False)]
    assert (parts.count("held_out"), parts.count("validation")) == (6, 4)


def test_the_report_without_running_anything(run, tmp_path):
    code, printed, _ = run("--report_only")
    assert code == 2
    assert "run the study first" in printed
    run(seeds=[0])
    folder = tmp_path / "runs" / "tiny"
    before = {file.name: file.read_bytes() for file in folder.glob("*.*")}
    for name in ("summary.csv", "summary.md", "chart.png", "chart.svg"):
        (folder / name).unlink()
    code, printed, journal = run("--report_only", seeds=[0])
    assert (code, journal) == (0, [])
    assert "A tiny study" in printed
    assert {file.name: file.read_bytes() for file in folder.glob("*.*")} == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interruption_ends_the_training_and_the_same_command_goes_on(number, run, tmp_path):
    variants = {"all": {}, "slow": {"options": {"weight_map#sigma": 3.0}}}
    waiting = tmp_path / "runs" / "tiny-slow-s0" / "waiting"

    def interrupt():
        while not waiting.exists():
            time.sleep(0.05)
        os.kill(os.getpid(), number)

    threading.Thread(target=interrupt, daemon=True).start()
    before = signal.getsignal(signal.SIGTERM)
    code, printed, journal = run(variants=variants)
    assert signal.getsignal(signal.SIGTERM) is before
    assert code == 130
    assert "interrupted: repeat the command to resume" in printed
    assert journal == ["training tiny-all-s0", "evaluating tiny-all-s0-held_out-none", "training tiny-slow-s0"]
    assert "| all | none | 1 |" in printed  # what has been measured is reported
    code, printed, journal = run(variants=variants, seeds=[0])
    assert (code, journal) == (0, ["training tiny-slow-s0 again", "evaluating tiny-slow-s0-held_out-none"])


def test_a_study_runs_once_at_a_time(run, tmp_path):
    with exclusive(tmp_path / "runs" / "tiny" / ".lock"):
        code, printed, journal = run()
    assert (code, journal) == (2, [])
    assert "is in use: another process runs this study" in printed


def test_other_settings_are_not_mixed_with_those_of_before(run, tmp_path):
    run(seeds=[0])
    code, printed, journal = run("--optimizer#lr", "0.5", seeds=[0])
    assert (code, journal) == (2, [])
    assert "run tiny-all-s0 was begun with other settings (optimizer.lr 0.5 instead of 0.001)" in printed
    code, _, journal = run(
        "--optimizer#lr", "0.5", "--accept_changes", "--seeds", "[0,1]", "--variants", "all", seeds=[0]
    )
    assert (code, journal) == (0, ["training tiny-all-s1", "evaluating tiny-all-s1-held_out-none"])
    (tmp_path / "runs" / "tiny-all-s3").mkdir()
    code, printed, journal = run("--seeds", "[3]", seeds=[0])
    assert (code, journal) == (2, [])
    assert "tiny-all-s3 was not made by study tiny" in printed


def test_other_settings_are_not_mixed_with_those_of_other_seeds(run):
    run(seeds=[0])
    code, printed, journal = run("--optimizer#lr", "0.5", "--seeds", "[1]", seeds=[0])
    assert (code, journal) == (2, [])
    assert "run tiny-all-s0, which the same mean would have, was begun with other settings" in printed
    assert "(optimizer.lr 0.5 instead of 0.001)" in printed
    code, _, journal = run("--seeds", "[1]", seeds=[0])
    assert (code, len(journal)) == (0, 4)


def test_other_evaluations_are_not_mixed_with_those_of_before(run, tmp_path):
    run(seeds=[0])
    strict = tmp_path / "strict.json"
    strict.write_text(json.dumps({"cells#threshold": 0.9}))
    files = {"evaluation": {**STUDY["evaluation"], "config_files": ["configs/evaluate.json", str(strict)]}}
    code, printed, journal = run(seeds=[0], **files)
    assert (code, journal) == (2, [])
    assert "evaluation held_out-none of run tiny-all-s0 was made with other settings: move" in printed
    for variant in ("all", "border"):
        shutil.rmtree(tmp_path / "runs" / f"tiny-{variant}-s0" / "evaluation", ignore_errors=True)
    code, _, journal = run(seeds=[0], **files)
    assert code == 0
    assert {line.split()[0] for line in journal} == {"evaluating"}


@pytest.mark.parametrize(
    ("arguments", "entries", "message"),
    [
        (["--variants", "boarder"], {}, "no variant 'boarder': did you mean border"),
        (["--dataset_dir", "nowhere"], {}, "run tiny-all-s0: dataset_dir 'nowhere' is no folder"),
        (["--max_epoch", "3"], {}, "unknown option --max_epoch: did you mean --max_epochs"),
        (["--part", "held"], {}, "evaluation of tiny-all-s0: part must be one of validation, held_out, all"),
        (["--held_out", "0"], {}, "part 'held_out' has no images"),
        (["--network_def#norm", "layer"], {}, "run tiny-all-s0: norm 'layer' is refused"),
        ([], {"config_files": ["configs/trian.json"]}, "did you mean configs/train.json"),
        ([], {"metrics": {"ioo": "IoU"}}, "unknown 'ioo': did you mean iou"),
        ([], {"evaluation": {**STUDY["evaluation"], "tta": ["d5"]}}, "tta must be one of"),
        ([], {"variants": {"all": {}, "same": {}}}, "variants all and same of study tiny are the same training"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_trained(arguments, entries, message, run, tmp_path):
    code, printed, journal = run(*arguments, **entries)
    assert (code, journal) == (2, [])
    assert message in printed
    assert not (tmp_path / "runs" / "tiny").exists()


def test_an_option_may_not_take_back_what_makes_a_variant(run, tmp_path):
    overlay = tmp_path / "overlay.json"
    overlay.write_text('{"network_def#dropout": 0.1}')
    variants = {"all": {}, "without": {"config_files": [str(overlay)]}}
    for option in ({"network_def#dropout": 0.3}, {"network_def": {}}):
        code, printed, _ = run(variants=variants, options={**STUDY["options"], **option})
        assert code == 2
        assert "takes back 'network_def#dropout'" in printed


KERNELS = {
    "config_files": ["configs/train.json", "configs/networks/dcn.json"],
    "grid": {"name": "kernels", "option": "network_def#kernels", "values": [[4, 8, 16], [2, 8, 16]]},
    "variants": {"no_F3": {"options": {"network_def#branches": [True, True, False]}}},
    "seeds": [0],
}


def test_values_of_a_grid_from_the_command_line_join_those_of_the_file(run, tmp_path):
    code, _, journal = run("--kernels", "[[4,8,10]]", **KERNELS)
    assert code == 0
    assert [line for line in journal if "training" in line] == ["training tiny-4-8-16-s0", "training tiny-4-8-10-s0"]
    config = json.loads((tmp_path / "runs/tiny/records/tiny-4-8-10-s0.json").read_text())["settings"]
    assert [config[f"network_def.kernels.{k}"] for k in range(3)] == ["4", "8", "10"]
    code, printed, journal = run(**KERNELS)  # which were not named again, and stay in the tables
    assert [line for line in journal if "training" in line] == ["training tiny-2-8-16-s0", "training tiny-no_F3-s0"]
    assert "| kernels 4, 8, 10 | none | 1 |" in printed
    assert "| kernels 4, 8, 10 | none | 1 |" in run("--report_only", **KERNELS)[1]


@pytest.mark.parametrize(
    ("kernels", "message"),
    [
        ("[[4,8,11]]", "run tiny-4-8-11-s0: kernels of F3 is 11 px at stride 8: .* the nearest are 10 and 12"),
        ("[[4,8,10],[4,2,16]]", "run tiny-4-2-16-s0: kernels of F2 is 2 px, smaller than its stride of 4"),
        ("[[4,8]]", "run tiny-4-8-s0: kernels must be three sizes in px"),
        ("[4,8,10]", r"kernels must be a list of lists of integers of at least 1, such as \[\[4, 8, 16\]\]"),
    ],
)
def test_a_bad_value_of_a_grid_is_said_before_anything_is_trained(kernels, message, run, tmp_path):
    code, printed, journal = run("--kernels", kernels, **KERNELS)
    assert (code, journal) == (2, [])
    assert re.search(message, printed)
    assert not (tmp_path / "runs" / "tiny").exists()

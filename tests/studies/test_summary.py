"""Statistics, tables and chart of a study, from numbers that are known."""

import math
import statistics

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import stats

from bundle.atomic import write_csv
from bundle.studies.study_file import read_study
from bundle.studies.summary import collect, read_values, repeats_of, summarise
from bundle.studies.summary_chart import draw, lines_of
from bundle.studies.summary_files import write_summary
from bundle.studies.summary_markdown import markdown
from bundle.studies.trial import Row, StudyPaths, Trial
from tests.conftest import ROOT
from tests.studies.conftest import STUDY


@pytest.fixture
def study(study_file):
    evaluation = {**STUDY["evaluation"], "tta": ["none", "d4"], "reference_tta": ["none", "d4", "paper7"]}
    return read_study(study_file(seeds=[0, 1, 2, 3], evaluation=evaluation))


@pytest.fixture
def rows(study):
    """Random values of all runs; the variant's seed 2 is missing, and one value is not defined."""
    random = np.random.RandomState(3)
    rows = [
        Row(variant, seed, fold, part, tta, metric, random.rand(), 5.0, "id")
        for variant, seed, fold in study.choose()
        for part in ("held_out", "validation")
        for tta in study.tta_of(variant)
        for metric in study.metrics
        if (variant, seed) != ("border", 2)
    ]
    rows[0] = rows[0]._replace(value=math.nan)
    return pd.DataFrame(rows)


def reference(rows, variant, tta, metric):
    """seed -> value, found one by one."""
    found = {}
    for row in rows.itertuples(index=False):
        mine = row[0] == variant and row[3] == "held_out" and row[4] == tta and row[5] == metric
        if mine and not math.isnan(row[6]):
            found[row[1]] = row[6]
    return found


def test_summaries_equal_those_of_the_standard_library(study, rows):
    summaries = {(each.variant, each.tta, each.metric): each for each in summarise(study, repeats_of(study, rows))}
    assert len(summaries) == 10  # two metrics of the reference with three ttas, of the variant with two
    against = {("border", "none"): ("all", "none"), ("border", "d4"): ("all", "d4"), ("all", "d4"): ("all", "none")}
    against[("all", "paper7")] = ("all", "none")
    for (variant, tta, metric), summary in summaries.items():
        own = reference(rows, variant, tta, metric)
        values = list(own.values())
        assert summary.n == len(values)
        assert summary.mean == pytest.approx(statistics.mean(values))
        assert summary.std == pytest.approx(statistics.stdev(values))
        assert (summary.min, summary.max) == (min(values), max(values))
        if (variant, tta) == ("all", "none"):
            assert (summary.against, summary.pairs, summary.worse) == ("", 0, 0)
            assert math.isnan(summary.difference)
            continue
        other = reference(rows, *against[variant, tta], metric)
        differences = [own[seed] - other[seed] for seed in range(4) if seed in own and seed in other]
        assert summary.against == "/".join(against[variant, tta])
        assert summary.pairs == len(differences)
        assert summary.difference == pytest.approx(statistics.mean(differences))
        assert summary.difference_std == pytest.approx(statistics.stdev(differences))
        for_the_worse = [difference > 0 if metric == "pixel_error" else difference < 0 for difference in differences]
        assert summary.worse == sum(for_the_worse)
    assert summaries["all", "none", "pixel_error"].n == 3
    assert summaries["border", "none", "pixel_error"].pairs == 2


def test_one_run_has_no_spread(study, rows):
    single = rows[rows.seed == 1]
    assert all(math.isnan(summary.std) and summary.n == 1 for summary in summarise(study, repeats_of(study, single)))
    assert (
        "±"
        not in markdown(study, single, summarise(study, repeats_of(study, single)))
        .split("|", 1)[1]
        .split("Differences")[0]
    )


def test_the_table_says_what_is_worse(study):
    values = {("all", 0): 0.1, ("all", 1): 0.2, ("border", 0): 0.13, ("border", 1): 0.19}
    rows = [
        Row(variant, seed, None, "held_out", "none", metric, value if metric == "pixel_error" else 1 - value, 1.5, "id")
        for (variant, seed), value in values.items()
        for metric in study.metrics
    ]
    rows = pd.DataFrame(rows)
    lines = markdown(study, rows, summarise(study, repeats_of(study, rows))).splitlines()
    assert "|  | tta | runs | minutes | pixel error ↓ | IoU ↑ |" in lines
    assert "| full recipe | none | 2 | 1.5 | 0.150 ± 0.071 | 0.850 ± 0.071 |" in lines
    assert "| without border weight | none | +0.010 ± 0.028 (1/2 worse) | −0.010 ± 0.028 (1/2 worse) |" in lines


def test_without_a_run_to_compare_with_nothing_is_said_of_differences(study, rows):
    alone = rows[rows.variant == "border"]
    text = markdown(study, alone, summarise(study, repeats_of(study, alone)))
    assert "| without border weight | none |" in text
    assert "Differences" not in text


def test_whether_the_values_of_a_grid_differ_is_scipys_f_test():
    study = read_study(ROOT / "configs/studies/dcn_kernels.json")
    rows = pd.read_csv(ROOT / "docs/studies/dcn_kernels.csv", dtype={"variant": str}).assign(run_id="")
    summaries = summarise(study, repeats_of(study, rows))
    own = rows[
        (rows.metric == "background_iou") & (rows.tta == "none") & rows.variant.isin([s.variant for s in summaries])
    ]
    groups = [group.value for name, group in own.groupby("variant") if not name.startswith("no_")]
    expected = stats.f_oneway(*groups)
    assert len(groups) == 16
    label = study.metrics["background_iou"]
    told = f"{label} (none): F(15, 32) = {expected.statistic:.2f}, p = {expected.pvalue:.2g}"
    assert told in markdown(study, rows, summaries)
    assert "differ by more than seeds do" not in markdown(
        study, rows[rows.seed == 0], summarise(study, repeats_of(study, rows[rows.seed == 0]))
    )


def test_nothing_measured_yet(study, tmp_path):
    files, text = write_summary(study, pd.DataFrame(columns=Row._fields), tmp_path)
    assert "nothing has been measured on part held_out yet" in text
    assert [file.name for file in files] == ["study.csv", "summary.csv", "summary.md"]
    with pytest.raises(ValueError, match="nothing has been measured on part 'held_out'"):
        draw(study, repeats_of(study, pd.DataFrame(columns=Row._fields)))


def test_a_table_read_again_is_the_same(study, rows, tmp_path):
    again = read_values(write_csv(tmp_path / "study.csv", rows.columns, rows.itertuples(index=False), digits=6))
    for row, other in zip(rows.itertuples(index=False), again.itertuples(index=False), strict=True):
        assert row[:2] + row[3:6] == other[:2] + other[3:6]
        assert math.isnan(other.fold)
        assert other.value == pytest.approx(row.value, rel=1e-5, nan_ok=True)
    text = (tmp_path / "study.csv").read_text()
    (tmp_path / "study.csv").write_text(text.replace("part,tta,", "part,averaging,"))  # as version 0.1 called it
    pd.testing.assert_frame_equal(read_values(tmp_path / "study.csv"), again)
    (tmp_path / "study.csv").write_text("a,b\n")
    with pytest.raises(ValueError, match="must have the columns variant, seed"):
        read_values(tmp_path / "study.csv")
    with pytest.raises(FileNotFoundError, match="run the study first"):
        read_values(tmp_path / "other.csv")


def test_the_chart_shows_every_value_at_its_place(study, rows):
    figure = draw(study, repeats_of(study, rows))
    lines = [("all", "none"), ("border", "none"), ("all", "d4"), ("all", "paper7")]
    assert lines_of(study, repeats_of(study, rows)) == lines
    for panel, metric in zip(figure.axes, study.metrics, strict=True):
        assert panel.get_title() == study.metrics[metric]
        assert ("lower" in panel.get_xlabel()) == (metric == "pixel_error")
        assert len(panel.collections) == len(lines)
        for place, (line, dots) in enumerate(zip(lines, panel.collections, strict=True)):
            values = reference(rows, *line, metric)
            points = np.asarray(dots.get_offsets())
            assert points[:, 0] == pytest.approx(list(values.values()))
            # the same seed at the same height in every line, also where one is missing
            assert points[:, 1] - place == pytest.approx([0.12 * seed - 0.18 for seed in values])
        means = [line.get_xdata()[0] for line in panel.lines if np.ptp(line.get_ydata()) == pytest.approx(0.66)]
        assert means == pytest.approx([statistics.mean(reference(rows, *line, metric).values()) for line in lines])
        assert panel.lines[0].get_xdata()[0] == pytest.approx(means[0])  # the reference's, through all lines
        assert panel.get_ylim()[0] > panel.get_ylim()[1]  # the first line is on top
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    variants = ["full recipe", "without border weight"]
    assert labels == [*variants, "full recipe, tta d4", "full recipe, tta paper7"]


def test_the_report_is_made_of_the_table_alone_and_the_same_each_time(study, rows, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_csv(tmp_path / name / "study.csv", rows.columns, rows.itertuples(index=False), digits=6)
        files, text = write_summary(study, read_values(tmp_path / name / "study.csv"), tmp_path / name)
        assert [file.name for file in files] == ["study.csv", "summary.csv", "summary.md", "chart.png", "chart.svg"]
        assert (tmp_path / name / "summary.md").read_text() == text
    for file in files:
        assert file.read_bytes() == (tmp_path / "one" / file.name).read_bytes()
    picture = np.asarray(Image.open(tmp_path / "one" / "chart.png").convert("RGB"))
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20


def test_collecting_finds_what_is_there(study, tmp_path):
    paths = StudyPaths("tiny", tmp_path)
    for variant, seed, fold in study.choose(seeds=[0, 9]):  # also a seed that is not the study's
        trial = Trial(study, paths, variant, seed, fold)
        trial.keep({"variant": variant, "seed": seed, "fold": fold, "evaluations": {}})
        folder = trial.evaluation_dir("none")
        folder.mkdir(parents=True)
        (folder / "mlflow_run_id.txt").write_text("an-id\n")
        if variant == "border":
            (folder / "summary.csv").write_text(f"metric,value,mean\npixel_error,0.{seed},7\niou,,\nloss,1,7\n")
    trial.run.path.joinpath("history.csv").write_text(
        "name,value\ntrain/seconds_step,90\ntrain/loss,1000\ntrain/sec"  # the last row is being written
    )
    rows = collect(study, paths)
    assert [row[:6] for row in rows.itertuples(index=False)] == [
        ("border", seed, None, "held_out", "none", metric) for seed in (0, 9) for metric in ("pixel_error", "iou")
    ]
    assert list(rows.value) == pytest.approx([0.0, math.nan, 0.9, math.nan], nan_ok=True)
    assert list(rows.minutes) == pytest.approx([math.nan, math.nan, 1.5, 1.5], nan_ok=True)
    assert set(rows.run_id) == {"an-id"}

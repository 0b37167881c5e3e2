"""The command on runs of a study that are complete, made by hand: as often as one likes, whatever is missing."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from bundle.data import datalist
from bundle.data.fingerprint import image_fingerprints
from bundle.studies.feature_maps.__main__ import main
from bundle.studies.feature_maps.branch_maps import TrialMaps
from bundle.studies.feature_maps.map_pictures import colour_scales
from bundle.studies.study_file import read_study
from bundle.studies.trial import StudyPaths, Trial
from tests.studies.feature_maps.conftest import KERNELS


def test_pictures_and_tables_of_whatever_is_complete(finished, study_file, cells, tmp_path, capsys):
    runs, path = tmp_path / "runs", study_file(**KERNELS)
    command = ["--study", str(path), "--dataset_dir", str(cells), "--output_dir", str(runs), "--images", "2"]
    assert main(command) == 2
    assert "no run of study tiny in" in capsys.readouterr().err

    first = finished("4-8-16", 0, 0.5, kernels=[4, 8, 16])
    assert main(command) == 0
    alone = capsys.readouterr().out
    assert "| kernels 4, 8, 16 |" in alone
    assert "The rule of Takaya et al., read from *kernels 4, 8, 16* by contrast: F" in alone

    finished("2-8-16", 0, 0.6, kernels=[2, 8, 16])
    finished("no_F3", 1, 0.4, kernels=[4, 8, 16], branches=[True, True, False])
    finished("6-8-16", 0, 0.7, kernels=[6, 8, 16])  # which the study file does not name
    (runs / "tiny-2-8-16-s0" / "last.pt").touch()
    finished("4-8-10", 0, 0.7, kernels=[4, 8, 10])
    (runs / "tiny-4-8-10-s0" / "model.pt").unlink()  # still in training
    for _ in range(2):
        assert main([*command, "--kernels", "[[6,8,16]]"]) == 0
        printed = capsys.readouterr().out
    assert "| any branch | 3 |  | 1/3 (1) |" in printed  # 6 > 4 > 2: better twice with the larger one
    folder = runs / "tiny" / "feature_maps"
    lines = list(csv.DictReader((folder / "statistics.csv").open()))
    assert [(line["variant"], line["map"]) for line in lines] == [
        *[(variant, name) for variant in ("4-8-16", "2-8-16", "6-8-16") for name in ("F1", "F2", "F3", "sum")],
        *[("no_F3", name) for name in ("F1", "F2", "sum")],
    ]
    for file in (
        folder / "sheet.png",
        *(runs / f"tiny-{name}" / "feature_maps" / "maps.png" for name in ("no_F3-s1",)),
    ):
        assert np.asarray(Image.open(file)).std() > 10

    metrics = finished.client.get_run(first).data.metrics
    assert metrics["feature_maps/contrast_F2"] == pytest.approx(float(lines[1]["contrast"]), rel=1e-5)
    assert len(finished.client.get_metric_history(first, "feature_maps/contrast_F2")) == 1  # said once
    assert [file.path for file in finished.client.list_artifacts(first, "feature_maps")] == ["feature_maps/maps.png"]
    collected = {file.path for file in finished.client.list_artifacts(finished.parent, "feature_maps")}
    assert collected == {f"feature_maps/{name}" for name in ("sheet.png", "rule.md", "statistics.csv", "pairs.csv")}

    # a network that was trained on a tuning image has nothing to show there
    seen = image_fingerprints(datalist(cells))
    finished("4-8-16", 5, 0.5, trained_on=seen, kernels=[4, 8, 16])
    assert main(command) == 2
    assert "has seen" in capsys.readouterr().err


def test_a_network_sees_neighbouring_slices_here_too(finished, study_file, cells, tmp_path):
    for kind in ("image", "label"):
        (tmp_path / "stack" / kind).mkdir(parents=True)
        slices = [tifffile.imread(file) for file in sorted((cells / kind).iterdir())]
        tifffile.imwrite(tmp_path / "stack" / kind / "em.tif", np.stack(slices), photometric="minisblack")
    finished("4-8-16", 0, 0.5, kernels=[4, 8, 16], in_channels=3)
    card = tmp_path / "runs" / "tiny-4-8-16-s0" / "card.json"
    card.write_text(json.dumps({**json.loads(card.read_text()), "image": {"channels": 1, "context_slices": 1}}))
    places = ["--dataset_dir", str(tmp_path / "stack"), "--output_dir", str(tmp_path / "runs")]
    assert main(["--study", str(study_file(**KERNELS)), *places, "--images", "1"]) == 0
    assert (card.parent / "feature_maps" / "maps.png").is_file()


def test_the_study_is_run_first_when_asked_to(finished, study_file, cells, tmp_path, capsys):
    runs, path = tmp_path / "runs", study_file(**KERNELS, seeds=[0])
    for variant, kernels in {"4-8-16": [4, 8, 16], "2-8-16": [2, 8, 16], "4-8-10": [4, 8, 10]}.items():
        finished(variant, 0, 0.5, kernels=kernels)
    finished("no_F3", 0, 0.4, kernels=[4, 8, 16], branches=[True, True, False])
    command = ["--study", str(path), "--dataset_dir", str(cells), "--output_dir", str(runs), "--accept_changes"]
    assert main([*command, "--run"]) == 0
    assert "The rule of Takaya et al., read from *kernels 4, 8, 16* by leftover: F" in capsys.readouterr().out
    assert (runs / "tiny" / "feature_maps" / "sheet.png").is_file()
    assert "feature_maps" in {file.path for file in finished.client.list_artifacts(finished.parent)}


@pytest.mark.parametrize("option", [["--imags", "2"], ["--variants", "no_F3"], ["--max_epoch", "3"]])
def test_an_option_that_nobody_knows_is_refused(option, finished, study_file, cells, tmp_path, capsys):
    finished("4-8-16", 0, 0.5, kernels=[4, 8, 16])
    command = [
        "--study",
        str(study_file(**KERNELS)),
        "--dataset_dir",
        str(cells),
        "--output_dir",
        str(tmp_path / "runs"),
    ]
    assert main([*command, *option]) == 2
    assert option[0].removeprefix("--") in capsys.readouterr().err


def test_a_map_has_one_scale_of_colours_in_all_runs(study_file):
    study = read_study(study_file())

    def run(variant, **maps):
        named = {name: [np.full((20, 20), value, np.float16)] for name, value in maps.items()}
        return TrialMaps(Trial(study, StudyPaths("tiny", Path("runs")), variant, 0), (4, 8, 16), named, {})

    scales = colour_scales([run("a", F1=-3.0, sum=1.0), run("b", F1=1.0, F2=0.0, sum=2.0)])
    assert scales == {"F1": 3.0, "F2": 1.0, "sum": 2.0}
    assert list(scales) == ["F1", "F2", "sum"]

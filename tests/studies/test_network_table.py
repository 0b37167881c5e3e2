"""The table of all networks: what a study measured, and what its checkpoints cost."""

import csv
import json

import pytest
import torch

from benchmarks.network_table import main, networks_of, table, time_networks, time_steps
from benchmarks.timing import CheckError, Options, Timing
from bundle.networks import DCN, UNet, WindowCNN
from bundle.studies.study_file import read_study
from bundle.studies.summary import read_values
from bundle.studies.trial import Row, StudyPaths
from tests.conftest import ROOT, TINY

COMMON = {"in_channels": 1, "out_channels": 2, "base_channels": 2}
NETWORKS = {
    "unet": ("UNet", {"spatial_dims": 2, **COMMON, "depth": 2, "norm": "batch", "deep_supervision": True}),
    "dcn": ("DCN", {"spatial_dims": 2, **COMMON, "norm": "batch"}),
    "window": ("WindowCNN", {**COMMON, "window": 65}),
}
VARIANTS = {
    "unet": {"label": "the unet"},
    "dcn": {"label": "the dcn", "config_files": ["configs/networks/dcn.json"]},
    "window": {
        "label": "the window",
        "config_files": ["configs/networks/window_cnn.json"],
        "options": {"window": 65, "windows_a_step": 4},
    },
    "unmeasured": {"label": "the unmeasured", "options": {"a": "b"}},
}


@pytest.fixture
def measured(study_file, tmp_path):
    """A study of three networks and two seeds, as it is when one evaluation is missing."""
    path = study_file(variants=VARIANTS, options={**TINY, "tile_size": 92})
    rows = []
    for place, (variant, (target, arguments)) in enumerate(NETWORKS.items()):
        for seed in (0, 1):
            folder = tmp_path / f"tiny-{variant}-s{seed}"
            folder.mkdir()
            card = {"network": {"_target_": f"bundle.networks.{target}", **arguments}}
            (folder / "card.json").write_text(json.dumps(card))
            for metric, value in (("pixel_error", 0.1 * place + 0.02 * seed), ("iou", 0.9)):
                if (variant, seed) != ("dcn", 1):
                    rows.append(Row(variant, seed, None, "held_out", "none", metric, value, 3.0 + seed, "id"))
                    rows.append(Row(variant, seed, None, "validation", "none", metric, 9.0, 3.0 + seed, "id"))
    (tmp_path / "tiny").mkdir()
    with (tmp_path / "tiny" / "study.csv").open("w") as file:
        csv.writer(file).writerows([Row._fields, *(["" if cell is None else cell for cell in row] for row in rows)])
    return path, StudyPaths("tiny", tmp_path)


def test_a_line_has_what_was_measured_and_what_it_costs(measured):
    path, paths = measured
    study, rows = read_study(path), read_values(paths.table)
    networks = networks_of(study, paths, rows)
    assert {name: type(network).__name__ for name, network in networks.items()} == {
        name: target for name, (target, _) in NETWORKS.items()
    }
    timings = {name: Timing(0.1 * (k + 1), 0, 0, k + 1.0) for k, name in enumerate(networks)}
    steps = {name: Timing(0.5 * (k + 1), 0, 0, k + 1.0) for k, name in enumerate(networks)}
    made = table(study, rows, networks, steps, timings, 512)
    count = sum(parameter.numel() for parameter in UNet(**NETWORKS["unet"][1]).parameters())
    assert list(made.rows[0]) == [
        "the unet",
        f"{count:,}",
        "500",
        "1.00",
        "100",
        "1.00",
        "2",
        "0.010 ± 0.014",
        "0.9000 ± 0.0000",
    ]
    assert list(made.rows[1])[2:] == ["1000", "2.00", "200", "2.00", "1", "0.100", "0.9000"]
    assert [column for column in made.columns if "512" in column] == ["ms for 512 x 512 px"]


def test_every_network_is_timed_on_the_whole_image(measured):
    path, paths = measured
    networks = networks_of(read_study(path), paths, read_values(paths.table))
    assert not any(network.training for network in networks.values())
    timings = time_networks(networks, Options(repeats=1), size=70)
    assert list(timings) == list(NETWORKS)
    assert timings["unet"].ratio == 1
    assert all(timing.median > 0 for timing in timings.values())
    with pytest.raises(CheckError, match="three gives no map of two classes of 70 x 70 px"):
        time_networks({"three": UNet(2, 1, 3, base_channels=2, depth=2).eval()}, Options(repeats=1), size=70)


def test_a_step_of_every_variant_is_timed_by_its_own_configs(study_file):
    overlays = [f"configs/networks/{name}.json" for name in ("dcn", "window_cnn")]
    path = study_file(
        options={**TINY, "tile_size": 124},
        variants={
            "unet": {"label": "a U-Net"},
            **{file[17:-5]: {"label": file, "config_files": [file]} for file in overlays},
        },
    )
    networks = {
        "unet": UNet(2, 1, 2, base_channels=2, depth=2, norm="batch", deep_supervision=True),
        "window_cnn": WindowCNN(1, 2, base_channels=2),
        "dcn": DCN(2, 1, 2, base_channels=2, norm="batch"),
    }
    timings = time_steps(read_study(path), networks, Options(repeats=1))
    assert list(timings) == ["unet", "window_cnn", "dcn"]
    assert timings["unet"].ratio == 1
    assert all(timing.median > 0 for timing in timings.values())
    wider = {"unet": UNet(2, 1, 2, base_channels=3, depth=2, norm="batch")}
    with pytest.raises(CheckError, match=r"unet has .* weights in tiny, .* were trained"):
        time_steps(read_study(path), wider, Options(repeats=1))


def test_the_command_writes_the_table_beside_the_study(measured, tmp_path, capsys):
    path, _ = measured
    threads = torch.get_num_threads()
    try:
        command = ["--study", str(path), "--output_dir", str(tmp_path), "--size", "70", "--repeats", "1"]
        assert main(command) == 0
        assert main(["--study", str(path), "--output_dir", str(tmp_path / "elsewhere")]) == 2
    finally:
        torch.set_num_threads(threads)
    printed = capsys.readouterr()
    assert "run the study first" in printed.err
    text = (tmp_path / "tiny" / "networks.md").read_text()
    assert text in printed.out
    assert "1 rounds side by side" in text
    assert "| the window" in text
    assert "the unmeasured" not in text


def test_the_shipped_study_has_every_overlay():
    study = read_study(ROOT / "configs" / "studies" / "networks.json")
    files = {file for variant in study.variants.values() for file in variant.config_files}
    assert files == {f"configs/networks/{path.name}" for path in (ROOT / "configs" / "networks").glob("*.json")}
    assert study.reference == "unet"

"""The annotation loop: what it may see, what it goes on with, and a whole one at a tiny size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import load_bundle_config
from torch.nn.functional import interpolate

from benchmarks.annotation_loop.__main__ import main
from benchmarks.annotation_loop.loop import Loop
from benchmarks.annotation_loop.plan import STRATEGIES, Settings, keep_settings, read_film
from benchmarks.annotation_loop.report import curves, draw, markdown, write_report
from bundle.cells import probability_to_instances
from bundle.data.fingerprint import image_fingerprints
from bundle.data.readers import read_image
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.inference.passes import foreground_probability
from bundle.inference.uncertainty import border_score
from bundle.metrics.ctc import seg
from bundle.model import TrainedNetwork, checkpoints
from bundle.networks import UNet
from tests.conftest import ROOT
from tests.data.ctc_set import boxes, save

SIZE = (64, 72)
CORNERS = ((5, 8), (5, 24), (40, 30))
FRAMES, GOLD = 12, (1, 2, 3, 6, 9)
#: of twelve frames the first third is the test's
TEST, POOL = ("01-001", "01-002", "01-003"), tuple(f"01-{frame:03d}" for frame in range(4, 12))


@pytest.fixture(scope="module")
def film_dir(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("film")
    for frame in range(FRAMES):
        cells = np.roll(boxes(*CORNERS, side=15, size=SIZE), 2 * frame, axis=0)
        image = 100 * (cells > 0) + np.random.RandomState(frame).randint(0, 20 + 8 * frame, SIZE)
        save(root / f"01/t{frame:03d}.tif", image.astype(np.uint8))
        save(root / f"01_ST/SEG/man_seg{frame:03d}.tif", cells)
        if frame in GOLD:
            save(root / f"01_GT/SEG/man_seg{frame:03d}.tif", cells)
    return root


def untrained(seed: int = 1) -> UNet:
    """A network that finds cells everywhere, of all degrees of doubt."""
    torch.manual_seed(seed)
    network = UNet(2, 1, 2, base_channels=2, depth=2, norm="batch").eval()
    with torch.no_grad():
        logits = network(interpolate(torch.randn(1, 1, 23, 23), size=92, mode="bicubic"))[0]
        network.classify.bias[0] = (logits[1] - logits[0]).median()
    return network


class StandIn:
    """Stands for a training: leaves a network that its seed draws, and notes what it was told."""

    def __init__(self) -> None:
        self.told: list[dict[str, str]] = []

    def __call__(self, words: list[str], log: Path) -> None:
        assert words[1:5] == ["-m", "monai.bundle", "run", "training"]
        options = dict(zip((word.removeprefix("--") for word in words[5::2]), words[6::2], strict=True))
        self.told.append(options)
        checkpoints.write(options["model_file"], untrained(1 + int(options["seed"]) % 3).state_dict())
        card = {"data": {"images_by": "pixels", "trained_on": {}, "validated_on": {}}}
        Path(options["model_file"]).with_name("card.json").write_text(json.dumps(card))

    @property
    def names(self) -> list[str]:
        return [options["run_name"] for options in self.told]


@pytest.fixture
def make_loop(film_dir, tmp_path, monkeypatch):
    """A loop on the film whose trainings take no time; called again, another one of the same settings and folder."""
    monkeypatch.chdir(ROOT)

    def make(root: Path = film_dir, **settings) -> Loop:
        chosen = Settings(**{"dataset_dir": str(root), "steps": 7, "base_channels": 2, "tile_size": 60} | settings)
        return Loop(chosen, read_film(chosen, 2), tmp_path / "out", StandIn(), say=lambda text: None)

    return make


def test_no_frame_of_the_tests_stretch_can_be_annotated(film_dir):
    film = read_film(Settings(str(film_dir), truth="gold"), rounds=2)
    assert film.test == TEST
    assert tuple(film.pool) == POOL
    assert all("_ST" in item["label"] for item in film.pool.values())
    other = read_film(Settings(str(film_dir), truth="gold", fold=1), rounds=2)
    assert other.test == ("01-006",)
    assert tuple(other.pool) == tuple(f"01-{frame:03d}" for frame in (0, 1, 2, 3, 8, 9, 10, 11))


def test_the_first_frames_are_those_of_the_seed(film_dir):
    film = read_film(Settings(str(film_dir)), rounds=2)
    drawn = [film.start(2, seed) for seed in range(8)]
    assert all(set(names) < set(POOL) and len(names) == 2 for names in drawn)
    assert len(set(map(tuple, drawn))) > 1
    assert film.start(2, 3) == drawn[3]


def test_a_whole_loop_of_which_nothing_is_done_twice(make_loop):
    loop = make_loop(add=2)
    loop.run(4, STRATEGIES, rounds=2)
    assert loop.call.names == ["s4-start", *(f"s4-{strategy}-{number}" for number in (1, 2) for strategy in STRATEGIES)]
    by_name = {record["name"]: record for record in loop.records()}
    start = by_name["s4-start"]["frames"]
    for strategy in STRATEGIES:
        first, second = (by_name[f"s4-{strategy}-{number}"] for number in (1, 2))
        assert first["frames"][:2] == start
        assert second["frames"][:4] == first["frames"]
        assert len(set(second["frames"])) == 6
        assert set(second["frames"]) <= set(POOL)
        # what was not annotated was scored, and the highest scores were annotated
        assert set(second["scores"]) == set(POOL) - set(first["frames"])
        best = sorted(second["scores"].values())[-2:]
        assert sorted(second["scores"][name] for name in second["frames"][4:]) == best
        assert np.isfinite(second["seg"])

    again = make_loop(add=2)
    again.run(4, STRATEGIES, rounds=2)
    assert again.call.told == []
    (loop.folder / "rounds" / "s4-border-2.json").unlink()  # interrupted in the measurement
    again.run(4, STRATEGIES, rounds=2)
    assert again.call.told == []
    (loop.folder / "rounds" / "s4-epistemic-2.json").unlink()  # interrupted in the training
    loop.run_folder("s4-epistemic-2").model_file.unlink()
    again.run(4, STRATEGIES, rounds=2)
    assert [(options["run_name"], options["resume"]) for options in again.call.told] == [("s4-epistemic-2", "True")]
    same = {record["name"]: (record["frames"], record["seg"]) for record in again.records()}
    assert same == {name: (record["frames"], record["seg"]) for name, record in by_name.items()}


def test_scores_look_at_images_of_the_pool_and_at_nothing_else(make_loop, film_dir, tmp_path):
    loop = make_loop()
    earlier = loop.round(0, "start", 0, ["01-005", "01-008"], before=None)
    expected = {strategy: loop.scores(0, strategy, 1, earlier) for strategy in STRATEGIES}
    assert [len(set(scores.values())) for scores in expected.values()] == [len(POOL) - 2] * 3, expected
    model = loop.run_folder("s0-start").model_file
    network = TrainedNetwork(model).load(UNet(2, 1, 2, base_channels=2, depth=2, norm="batch"))
    by_hand = border_score(foreground_probability(network, OverlapTileInferer(), loop.image("01-004")))
    assert expected["border"]["01-004"] == pytest.approx(by_hand, rel=0.2)  # bf16 there, fp32 here

    images = tmp_path / "images"
    for name, item in loop.film.pool.items():
        array = read_image(item["image"], np.dtype(np.float32))
        save(images / f"{name}.tif", np.asarray(array).squeeze().T.astype(np.uint8))
    blind = make_loop()
    blind.film.pool.update({name: {"name": name, "image": str(images / f"{name}.tif")} for name in POOL})
    assert {strategy: blind.scores(0, strategy, 1, earlier) for strategy in STRATEGIES} == expected


def test_a_training_sees_the_annotated_frames_and_begins_with_the_network_before(make_loop, tmp_path):
    overlay = tmp_path / "tiny.json"
    overlay.write_text(json.dumps({"depth": 2, "folds": 3, "fold": 1, "blocks": True}))
    loop = make_loop(config_files=(str(overlay),))
    loop.round(0, "start", 0, ["01-005", "01-008"], before=None)
    frames = ["01-005", "01-008", "01-010"]
    parser = loop.training("s0-border-1", 0, 1, frames, before="s0-start").parser()
    parsed = parser.get_parsed_content
    assert [item["name"] for item in parsed("train#items")] == frames
    assert all("_ST" in item["label"] for item in parsed("train#items"))
    assert parsed("validate#items") == []
    assert len(parsed("train#dataset")) == 7
    assert parsed("pretrained") == str(loop.run_folder("s0-start").model_file)
    first = loop.training("s0-start", 0, 0, frames, before=None).parser()
    assert first["pretrained"] is None


def test_the_test_is_measured_on_its_truth_and_refused_where_it_was_trained_on(make_loop):
    loop = make_loop(truth="gold")
    name = loop.round(0, "start", 0, ["01-005"], before=None)["name"]
    model = loop.run_folder(name).model_file
    network = untrained()
    torch.nn.init.zeros_(network.classify.weight)
    with torch.no_grad():
        network.classify.bias[:] = torch.tensor([0.0, 1.0])  # everything is one cell
    checkpoints.write(model, network.state_dict())
    assert loop.measure(name) == pytest.approx(15**2 / (SIZE[0] * SIZE[1]))
    network = untrained()
    checkpoints.write(model, network.state_dict())
    options = load_bundle_config(str(ROOT), "train.json").get_parsed_content("cells")
    cells, truth = [], []
    for frame in TEST:
        image = make_loop(fold=2).image(frame)
        cells.append(probability_to_instances(foreground_probability(network, loop.inferer, image).numpy(), options))
        file = Path(loop.settings.dataset_dir) / f"01_GT/SEG/man_seg{frame[3:]}.tif"
        truth.append(np.asarray(read_image(file, np.dtype(np.float32))).squeeze().astype(int))
    assert loop.measure(name) == pytest.approx(seg(truth, cells), rel=0.01)  # bf16 rounds by the tile

    seen = image_fingerprints([make_loop(fold=2).film.pool["01-002"]])
    model.with_name("card.json").write_text(
        json.dumps({"data": {"images_by": "pixels", "trained_on": seen, "validated_on": {}}})
    )
    with pytest.raises(ValueError, match=r"measuring s0-start: .* has 1 of 3 images that .* has seen: 01-002"):
        loop.measure(name)


def test_settings_stay_and_mistakes_are_named(film_dir, tmp_path, capsys):
    settings = Settings(str(film_dir))
    film = read_film(settings, 2)
    assert film.test == tuple(f"01-{frame:03d}" for frame in range(4))  # silver truth, of every frame
    with pytest.raises(ValueError, match="truth must be one of silver, gold, got 'lead'"):
        Settings(str(film_dir), truth="lead")
    keep_settings(tmp_path / "settings.json", settings, film)
    keep_settings(tmp_path / "settings.json", Settings(str(film_dir)), film)
    with pytest.raises(ValueError, match=r"begun with other settings \(steps 5 instead of 400\): restore them"):
        keep_settings(tmp_path / "settings.json", Settings(str(film_dir), steps=5), film)
    with pytest.raises(ValueError, match=r"4 rounds of 2 after 2 need 10 frames, the pool has 8: rounds can be 3"):
        read_film(Settings(str(film_dir), add=2), rounds=4)
    for name, least in (("start", 1), ("passes", 2)):
        with pytest.raises(ValueError, match=rf"{name} must be at least {least} .* got {least - 1}"):
            Settings(str(film_dir), **{name: least - 1})
    assert main(["--dataset_dir", str(tmp_path / "none"), "--output_dir", str(tmp_path / "out")]) == 2
    assert "none" in capsys.readouterr().err


def record(seed, strategy, number, value):
    return {
        "seed": seed,
        "strategy": strategy,
        "round": number,
        "frames": ["f"] * (2 + number),
        "seg": value,
        "added": 1,
    }


RECORDS = [
    *[record(0, "start", 0, 0.1), record(0, "random", 1, 0.2), record(0, "border", 1, 0.5)],
    *[
        record(1, "start", 0, 0.3),
        record(1, "random", 1, 0.4),
        record(1, "border", 1, 0.3),
        record(1, "border", 2, 0.6),
    ],
]


def test_the_table_pairs_by_seed():
    found = curves(RECORDS)
    assert {name: found[name].dropna().to_dict() for name in found} == {
        "random": {(2, 0): 0.1, (2, 1): 0.3, (3, 0): 0.2, (3, 1): 0.4},
        "border": {(2, 0): 0.1, (2, 1): 0.3, (3, 0): 0.5, (3, 1): 0.3, (4, 1): 0.6},
    }
    lines = markdown(found, "gold").splitlines()[2:]
    assert lines[0] == "| annotated frames | random | border | border − random |"
    assert lines[3] == "| 3 | 0.300 ± 0.141 | 0.400 ± 0.141 | +0.100 ± 0.283 (1/2 better) |"
    assert lines[4] == "| 4 |  | 0.600 |  |"


def test_the_rows_come_by_seed_strategy_and_round_though_ten_sorts_before_two(tmp_path):
    files, text = write_report([record(1, "border", 10, 0.7), *reversed(RECORDS)], tmp_path, "gold")
    assert [file.name for file in files] == ["results.csv", "summary.md", "curve.png", "curve.svg"]
    rows = [row.split(",")[:4] for row in files[0].read_text().splitlines()[1:]]
    assert [row[1:3] for row in rows if row[0] == "1"] == [
        *(["start", "0"], ["random", "1"], ["border", "1"], ["border", "2"], ["border", "10"])
    ]
    assert files[1].read_text() == text


def test_the_curves_show_every_seed_and_the_means():
    (axes,) = draw(curves(RECORDS), "gold").axes
    assert [label.get_text() for label in axes.get_legend().get_texts()] == ["random", "border"]
    assert axes.lines[1].get_ydata() == pytest.approx([0.2, 0.4, 0.6])
    assert sorted(axes.collections[1].get_offsets()[:, 1]) == pytest.approx([0.1, 0.3, 0.3, 0.5, 0.6])


@pytest.mark.nightly
def test_the_command_trains_measures_and_goes_on(film_dir, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    overlay, out = tmp_path / "tiny.json", tmp_path / "out"
    overlay.write_text(json.dumps({"depth": 2, "precision": "fp32", "tracker#enabled": False}))
    command = ["--dataset_dir", str(film_dir), "--output_dir", str(out), "--config_files", str(overlay)]
    command += ["--steps", "5", "--base_channels", "2", "--tile_size", "60", "--seeds", "3", "--strategies", "border"]
    assert main([*command, "--rounds", "1"]) == 0
    rounds = {path.stem: json.loads(path.read_text()) for path in (out / "rounds").glob("*.json")}
    assert set(rounds) == {"s3-start", "s3-border-1"}
    trained = json.loads((out / "runs/s3-border-1/card.json").read_text())["data"]["trained_on"]
    assert sorted(trained) == sorted(rounds["s3-border-1"]["frames"])
    rows = (out / "results.csv").read_text().splitlines()
    assert rows[0].startswith("seed,strategy,round,annotated,seg,added")
    assert [row.split(",")[:4] for row in rows[1:]] == [["3", "start", "0", "2"], ["3", "border", "1", "3"]]
    assert all((out / name).stat().st_size for name in ("curve.png", "curve.svg", "summary.md"))
    log = (out / "log.txt").read_bytes()
    capsys.readouterr()
    assert main([*command, "--rounds", "1"]) == 0
    assert (out / "log.txt").read_bytes() == log
    assert "annotated frames | border" in capsys.readouterr().out

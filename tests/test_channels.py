"""Images of several channels through the commands: train, evaluate, segment, resume, export; and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.model import TrainedNetwork, checkpoints
from tests.conftest import ROOT, TINY, said_by
from tests.warm import run_module, warm

KINDS = ("rgb", "two")
NAMES = {"rgb": ["red", "green", "blue"], "two": ["DAPI", "GFP"]}


def write(path: Path, kind: str, gray: np.ndarray) -> Path:
    """An image of cells: a stain on white, or two channels."""
    if kind == "rgb":
        colours = np.stack([255 - gray // 3, 255 - gray, 255 - gray // 2], axis=-1)
        Image.fromarray(colours).save(path.with_suffix(".png"))
        return path.with_suffix(".png")
    pixels = np.stack([gray.astype(np.uint16) * 100, 300 + np.rot90(gray, 2).astype(np.uint16)])
    metadata = {
        "axes": "CYX",
        "Channel": {"Name": NAMES[kind]},
        **{"PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.5, "PhysicalSizeYUnit": "µm"},
    }
    tifffile.imwrite(path.with_suffix(".tif"), pixels, ome=True, photometric="minisblack", metadata=metadata)
    return path.with_suffix(".tif")


class Journey:
    """One kind of images, and what the commands make of them."""

    def __init__(self, folder: Path, kind: str, cells: Path, command: Callable[..., str]) -> None:
        self.folder, self.kind, self._command = folder, kind, command
        for part in ("data/image", "data/label", "new"):
            (folder / part).mkdir(parents=True)
        for file in sorted((cells / "image").glob("*.tif")):
            gray = tifffile.imread(file)
            gray = (255.0 * (gray - gray.min()) / (gray.max() - gray.min())).astype(np.uint8)
            write(folder / "data/image" / file.stem, kind, gray)
            (folder / "data/label" / file.name).write_bytes((cells / "label" / file.name).read_bytes())
        self.new = write(folder / "new/a", kind, np.ascontiguousarray(gray[::-1, :80]))
        self.checkpoint = folder / "model.pt"

    def run(self, *words: str, **options: object) -> str:
        pairs = {"output_dir": str(self.folder / "runs"), "model_file": str(self.checkpoint), **TINY, **options}
        return self._command("monai.bundle", *words, *options_of(pairs | {"dataset_dir": str(self.folder / "data")}))

    def train(self, **options: object) -> str:
        return self.run("run", "training", "--config_file", "configs/train.json", "--run_name", "a", **options)

    def segment(self, images: Path, output: Path, **options: object) -> str:
        pairs = {"dataset_dir": str(images), "output_dir": str(output), "checkpoint": str(self.checkpoint), **options}
        words = ("run", "--config_file", "configs/inference.json", "--precision", "fp32")
        return self._command("monai.bundle", *words, *options_of(pairs))


def options_of(pairs: dict[str, object]) -> list[str]:
    return [
        word
        for name, value in pairs.items()
        for word in (f"--{name}", value if isinstance(value, str) else json.dumps(value))
    ]


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """``python -m MODULE WORDS`` from the bundle's folder; what it said, after its exit status if that is not 0."""
    logs = tmp_path_factory.mktemp("logs")
    with warm() as context:

        def run(module: str, *words: str) -> str:
            log = logs / f"{len(list(logs.iterdir()))}.log"
            process = context.Process(target=run_module, args=(module, list(words), ROOT, log))
            process.start()
            process.join(300)
            said = log.read_text()
            return said if process.exitcode == 0 else f"exit {process.exitcode}: {said}"

        yield run


@pytest.fixture(scope="module", params=KINDS)
def journey(request, tmp_path_factory, cells, command) -> Journey:
    """Trained, evaluated, applied, resumed and exported."""
    made = Journey(tmp_path_factory.mktemp(request.param), request.param, cells, command)
    told = [made.train(), made.segment(made.folder / "new", made.folder / "out")]
    files = "['configs/train.json','configs/evaluate.json']"
    told.append(made.run("run", "evaluating", "--config_file", files, evaluation_dir=str(made.folder / "evaluation")))
    told.append(made.train(max_epochs=3, resume=True, publish="always"))
    fixed = {"meta_file": "configs/metadata.json", "config_file": "configs/inference.json"}
    files = {"filepath": str(made.folder / "model.ts"), "ckpt_file": str(made.checkpoint)}
    words = options_of({**files, **fixed, "checkpoint": str(made.checkpoint)})
    told.append(command("monai.bundle", "ckpt_export", "network_def", *words))
    assert not [said for said in told if said.startswith("exit")], "\n".join(told)[-3000:]
    return made


def seen(file: Path) -> torch.Tensor:
    """What the network must get: (1, C, x, y), each channel by itself at mean 0 and standard deviation 1."""
    pixels = tifffile.imread(file) if file.suffix == ".tif" else np.moveaxis(np.asarray(Image.open(file)), -1, 0)
    pixels = pixels.astype(np.float64).transpose(0, 2, 1)
    pixels -= pixels.mean(axis=(1, 2), keepdims=True)
    return torch.from_numpy(pixels / pixels.std(axis=(1, 2), keepdims=True)).float()[None]


def test_the_card_says_which_images_it_takes(journey):
    card = TrainedNetwork(journey.checkpoint).card
    names = NAMES[journey.kind]
    assert card["image"] == {
        **{"channels": len(names), "channel_names": names, "select": "all", "standardize": {"robust": False}},
        **({"spacing": [0.5, 0.5]} if journey.kind == "two" else {}),  # which alone states it
    }
    assert card["network"]["in_channels"] == len(names)
    assert card["result"]["epochs"] == 3  # the resumed run went on


def test_the_probability_is_that_of_the_pixels(journey):
    segmented = journey.folder / "again"
    assert not journey.segment(journey.folder / "new", segmented).startswith("exit")
    network = TrainedNetwork(journey.checkpoint).load().eval()
    expected = torch.softmax(OverlapTileInferer()(seen(journey.new), network), dim=1)[0, 1].numpy().T
    np.testing.assert_allclose(tifffile.imread(segmented / "a_probability.tif"), expected, atol=1e-5)
    exported = torch.jit.load(str(journey.folder / "model.ts")).eval()
    again = torch.softmax(OverlapTileInferer()(seen(journey.new), exported), dim=1)[0, 1].numpy().T
    np.testing.assert_allclose(again, expected, atol=1e-5)


def test_pictures_have_colours(journey):
    overlay = np.asarray(Image.open(journey.folder / "out" / "a_overlay.png")).astype(int)
    assert overlay.shape == (96, 80, 3)
    plain = overlay[tifffile.imread(journey.folder / "out" / "a_cells.tif") == 0]
    if journey.kind == "two":  # magenta and green
        assert (plain[:, 0] == plain[:, 2]).all()
        assert np.abs(plain[:, 0] - plain[:, 1]).max() > 100
    else:
        assert np.abs(plain - plain.mean(axis=1, keepdims=True)).max() < 30  # each stretched: a gray stain
    assert list((journey.folder / "evaluation" / "pictures").glob("*.png"))
    assert (journey.folder / "evaluation" / "summary.csv").is_file()


def test_the_size_of_pixels_and_the_name_of_the_channel_are_in_the_result(journey):
    with tifffile.TiffFile(journey.folder / "out" / "a_probability.tif") as file:
        if journey.kind == "rgb":
            assert not file.is_ome
            return
        pixels = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
    assert pixels["PhysicalSizeX"] == 0.5
    assert pixels["Channel"]["Name"] == "probability"


def test_images_with_other_channels_are_refused(journey, tmp_path):
    (tmp_path / "in").mkdir()
    pixels = np.random.RandomState(0).randint(0, 255, (4, 96, 80), np.uint8)
    metadata = {"axes": "CYX", "Channel": {"Name": ["Cy5", "GFP", "DAPI", "x"]}}
    tifffile.imwrite(tmp_path / "in/a.ome.tif", pixels, ome=True, photometric="minisblack", metadata=metadata)
    said = journey.segment(tmp_path / "in", tmp_path / "out")
    expects = {"rgb": "3 (red, green, blue): choose by", "two": '2 (DAPI, GFP): add --channels "[2, 1]"'}
    assert "it has 4 channels (Cy5, GFP, DAPI, x), " in said
    assert f"model.pt expects {expects[journey.kind]}" in said
    option = {"rgb": "[0, 1, 2]", "two": "[2, 1]"}[journey.kind]
    assert not journey.segment(tmp_path / "in", tmp_path / "out", channels=option).startswith("exit")


def test_beginning_with_a_network_for_other_images_is_refused(journey, workflow):
    told = said_by(workflow(pretrained=str(journey.checkpoint)).run)  # on gray images
    named = f"{len(NAMES[journey.kind])} channels ({', '.join(NAMES[journey.kind])})"
    assert f"the images have 1 channel, {journey.checkpoint} takes {named}: choose others by --channels" in told
    if journey.kind == "two":
        data = {"dataset_dir": str(journey.folder / "data"), "channels": [1, 0]}
        told = said_by(workflow(**data, pretrained=str(journey.checkpoint)).run)
        assert f"the images have 2 channels (GFP, DAPI), {journey.checkpoint} takes {named}" in told


def test_luminance_and_an_order_are_kept_in_the_card(journey, workflow, tmp_path):
    chosen = {"rgb": "luminance", "two": [1, 0]}[journey.kind]
    data = {"dataset_dir": str(journey.folder / "data"), "output_dir": str(tmp_path / "r"), "channels": chosen}
    workflow(**data, max_epochs=1, run_name="a").run()
    card = TrainedNetwork(tmp_path / "r/a/best.pt").card["image"]
    expected = {"rgb": (1, None, "luminance"), "two": (2, ["GFP", "DAPI"], [1, 0])}[journey.kind]
    assert (card["channels"], card["channel_names"], card["select"]) == expected
    weights = checkpoints.read(tmp_path / "r/a/best.pt")
    assert weights["down.0.0.weight"].shape[1] == expected[0]
    out = journey.segment(journey.folder / "new", tmp_path / "out", checkpoint=str(tmp_path / "r/a/best.pt"))
    assert not out.startswith("exit"), out

"""Every experiment's overlay trains on files of its layout, and holds out what it says."""

import shutil

import numpy as np
import pytest
import tifffile
import torch
from monai.transforms import Compose
from PIL import Image

from bundle.model import checkpoints
from tests.conftest import ROOT
from tests.data.ctc_set import boxes, save

SIZE = (64, 72)
CORNERS = ((5, 8), (5, 24), (40, 30))


def film(root):
    for frame in range(6):
        cells = np.roll(boxes(*CORNERS, side=15, size=SIZE), frame, axis=0)
        grain = np.random.RandomState(frame).randint(0, 20, SIZE)
        save(root / f"01/t{frame:03d}.tif", (100 * (cells > 0) + grain).astype(np.uint8))
        save(root / f"01_GT/SEG/man_seg{frame:03d}.tif", cells)


def stack(root):
    cells = np.stack([np.roll(boxes(*CORNERS, side=15, size=SIZE), shift, axis=0) for shift in range(12)])
    root.mkdir()
    tifffile.imwrite(root / "train-volume.tif", (100 * (cells > 0)).astype(np.uint8), photometric="minisblack")
    tifffile.imwrite(root / "train-labels.tif", (255 * (cells > 0)).astype(np.uint8), photometric="minisblack")


def colours(root):
    """Half of the images gray, half in colour, as the nuclei are."""
    for number in range(10):
        cells = np.roll(boxes(*CORNERS, side=15, size=SIZE), number, axis=0)
        save(root / f"label/{number:03d}.tif", cells)
        gray = (100 * (cells > 0)).astype(np.uint8)
        picture = np.stack([gray, gray // 2, gray // 3], axis=-1) if number % 2 else gray
        (root / "image").mkdir(exist_ok=True)
        Image.fromarray(picture).save(root / f"image/{number:03d}.png")


def sections(root):
    """Every gray value of the classes, in 16 sections."""
    values = np.array([0, 32, 64, 96, 128, 159, 191, 223, 255], np.uint8)
    labels = values[np.random.RandomState(0).randint(9, size=(16, 8, 9))].repeat(8, 1).repeat(8, 2)
    for name, array in {"image": labels // 2 + np.arange(16, dtype=np.uint8)[:, None, None], "label": labels}.items():
        (root / name).mkdir(parents=True)
        tifffile.imwrite(root / name / "vnc.tif", array, photometric="minisblack")


def coloured(root):
    """115 sections, in which cells have colours of their own; the surroundings of the region are noise."""
    for number in range(115):
        random = np.random.RandomState(number)
        cells = np.roll(boxes(*CORNERS, side=15, size=SIZE), number % 20, axis=0)
        gray = (100 * (cells > 0) + random.randint(0, 20, SIZE)).astype(np.uint8)
        label = np.array([(0, 0, 0), (200, 30, 0), (0, 90, 255), (250, 250, 0)], np.uint8)[cells]
        for name, section in {"image": gray, "label": label}.items():
            around = random.randint(0, 255, (SIZE[0] + 30, SIZE[1] + 30, *section.shape[2:])).astype(np.uint8)
            around[10 : 10 + SIZE[0], 20 : 20 + SIZE[1]] = section
            (root / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(around).save(root / name / f"{number}.png")


EXPERIMENTS = {
    "em": (stack, 5),
    "dcn_kernels": (stack, 5),
    "dic_hela": (film, 2),
    "phc_u373": (film, 2),
    "nuclei": (colours, 2),
    "vnc": (sections, 2),
    "takaya_b": (coloured, 10),
}
#: of which the files are smaller than an experiment expects
OPTIONS = {"takaya_b": {"roi": f"20,10,{SIZE[1]},{SIZE[0]}"}}


def test_every_experiment_is_tested():
    assert {path.stem for path in (ROOT / "configs" / "experiments").glob("*.json")} == set(EXPERIMENTS)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_it_trains_and_keeps_what_is_held_out(name, workflow, tmp_path):
    write, held_out = EXPERIMENTS[name]
    write(tmp_path / "data")
    flow = workflow(
        f"experiments/{name}.json",
        dataset_dir=str(tmp_path / "data"),
        max_epochs=1,
        run_name=name,
        **OPTIONS.get(name, {}),
    )
    parsed = flow.parser.get_parsed_content
    every = {item["name"] for item in parsed("labelled")}
    used = {item["name"] for part in ("train", "validate") for item in parsed(f"{part}#items")}
    assert len(every) - len(used) == held_out
    flow.run()
    assert checkpoints.read(tmp_path / "model.pt")


def test_the_kernel_study_augments_by_one_of_six_turns_and_mirrorings(workflow, tmp_path):
    stack(tmp_path / "data")
    options = {"dataset_dir": str(tmp_path / "data"), "samples_per_epoch": 40}
    files = ("networks/dcn.json", "experiments/dcn_kernels.json")
    parsed = workflow(*files, **options, **{"elastic#sigma": 0.0}).parser.get_parsed_content
    source = {key: torch.arange(60 * 60).reshape(1, 60, 60).float() for key in ("image", "label")}
    turn, found = parsed("turn").set_random_state(0), set()
    for _ in range(60):
        made = turn(dict(source))
        assert torch.equal(made["image"], made["label"])
        found.add(np.asarray(made["image"]).tobytes())
    square = source["image"].numpy()
    turned = [np.rot90(square, k, (1, 2)) for k in range(4)]
    assert found == {array.tobytes() for array in (*turned, square[:, ::-1], square[:, :, ::-1])}
    # nothing else changes a tile: its values are those of its image, neither mixed nor mapped to others
    load = Compose(parsed("load"))
    values = {value for item in parsed("train#items") for value in load(item)["image"].unique().tolist()}
    for number in range(4):
        sample, again = (parsed("train#dataset")[number] for _ in range(2))
        assert sample["image"].shape == sample["label"].shape == (1, 64, 64)
        assert set(sample["image"].unique().tolist()) <= values
        assert set(sample["weight"].unique().tolist()) == {1.0}
        assert torch.equal(sample["image"], again["image"])  # the seed decides which turn


def test_the_folds_of_a_film_are_blocks(workflow, tmp_path):
    film(tmp_path / "data")
    unseen = []
    for fold in range(3):
        flow = workflow(
            "experiments/dic_hela.json", "evaluate.json", dataset_dir=str(tmp_path / "data"), fold=fold, checkpoint=None
        )
        parts = flow.parser.get_parsed_content("parts")
        unseen.append([item["name"] for item in parts["held_out"]])
        assert {item["name"] for item in parts["validation"]}.isdisjoint(unseen[-1])
        shutil.rmtree(tmp_path / "runs", ignore_errors=True)
    assert unseen == [["01-000", "01-001"], ["01-002", "01-003"], ["01-004", "01-005"]]


def test_sections_in_colour_are_split_by_their_place_and_cut(workflow, tmp_path):
    """As Takaya et al. split their data: the first 100, of which 10 validate, the next 10, and the rest unused."""
    coloured(tmp_path / "data")
    options = {"dataset_dir": str(tmp_path / "data"), **OPTIONS["takaya_b"]}
    flow = workflow("networks/dcn.json", "experiments/dcn_kernels.json", "experiments/takaya_b.json", **options)
    parsed = flow.parser.get_parsed_content
    named = {part: [item["name"] for item in parsed(f"{part}#items")] for part in ("train", "validate")}
    assert named == {"train": [str(k) for k in range(90)], "validate": [str(k) for k in range(90, 100)]}
    evaluated = workflow("experiments/takaya_b.json", "evaluate.json", checkpoint=None, **options)
    held_out = evaluated.parser.get_parsed_content("parts")["held_out"]
    assert [item["name"] for item in held_out] == [str(k) for k in range(100, 110)]
    image, label = (np.asarray(parsed("load_image_and_label")(held_out[3])[key][0]).T for key in ("image", "label"))
    cells = np.roll(boxes(*CORNERS, side=15, size=SIZE), 103 % 20, axis=0) > 0
    np.testing.assert_array_equal(label, cells)
    assert (image[cells] >= 100).all()
    assert (image[~cells] < 20).all()

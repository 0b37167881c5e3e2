"""A sequence of the Cell Tracking Challenge through the configs: partial truth in training, masks out of inference."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import torch
from scipy import ndimage

from bundle.cells import probability_to_instances
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.metrics.__main__ import main
from bundle.model import TrainedNetwork, checkpoints
from bundle.networks import UNet
from tests.conftest import table
from tests.data.ctc_set import boxes, save
from transforms import IGNORE, Standardize

SIZE = (96, 112)
GOLD, SILVER = ((10, 12), (10, 27)), ((60, 20), (40, 80), (75, 90))


@pytest.fixture(scope="module")
def sequence(tmp_path_factory):
    """Six frames; gold has two touching cells of five. The image is bright exactly where nobody annotated."""
    root = tmp_path_factory.mktemp("challenge")
    for frame in range(6):
        gold = np.roll(boxes(*GOLD, side=15, size=SIZE), frame, axis=0)
        silver = np.roll(boxes(*GOLD, *SILVER, side=15, size=SIZE), frame, axis=0)
        grain = np.random.RandomState(frame).randint(0, 20, SIZE)
        image = np.where((silver > 0) & (gold == 0), 200, 50) + grain
        save(root / f"01/t{frame:03d}.tif", image.astype(np.uint8))
        save(root / f"01_GT/SEG/man_seg{frame:03d}.tif", gold)
        save(root / f"01_ST/SEG/man_seg{frame:03d}.tif", silver)
    return root


def test_training_samples_weigh_nothing_where_nobody_annotated(workflow, sequence):
    flow = workflow(dataset_dir=str(sequence), **{"tile_size": 76})
    dataset = flow.parser.get_parsed_content("train#dataset")
    shares = []
    for index in range(4):
        sample = dataset[index]
        assert {"markers", "silver"}.isdisjoint(sample)
        image, weight, target = (np.asarray(sample[key][0]) for key in ("image", "weight", "label"))
        margin = (image.shape[0] - weight.shape[0]) // 2
        bright = image[margin:-margin, margin:-margin] > 0.5 * (image.min() + image.max())
        # linear image, nearest label: at the edge they may differ, by less than a pixel
        core, grown = ndimage.binary_erosion(bright), ndimage.binary_dilation(bright, np.ones((3, 3)))
        assert (weight[core] == 0).all()
        assert (weight[~grown] > 0).all()
        assert (target[weight == 0] == 0).all()
        shares.append((weight == 0).mean())
    assert max(shares) > 0.02


def test_evidence_is_a_matter_of_one_option(workflow, sequence):
    ignored = {}
    for evidence in ("auto", "none"):
        flow = workflow(dataset_dir=str(sequence), **{"labelled#evidence": evidence})
        item = flow.parser.get_parsed_content("validate#dataset")[0]
        ignored[evidence] = int((item["weight"] == 0).sum())
        assert (item["weight"][item["label"] > 0] > 0).all()
    assert ignored == {"auto": 3 * 15 * 15, "none": 0}


def test_a_partially_annotated_sequence_trains(workflow, sequence, tmp_path):
    workflow(dataset_dir=str(sequence), run_name="ctc", max_epochs=1).run()
    rows = table(tmp_path / "runs/ctc/history.csv")
    assert all(np.isfinite(float(row["value"])) for row in rows if row["name"] in ("train/loss", "val/loss"))
    assert checkpoints.read(tmp_path / "runs/ctc/last.pt")["epoch"] == 1


def test_instances_and_ignore_are_what_the_loader_makes_of_the_files(workflow, sequence):
    """Axes (x, y): the transpose of the files."""
    load = workflow(dataset_dir=str(sequence)).parser.get_parsed_content("load")
    item = {
        "image": str(sequence / "01/t000.tif"),
        "label": str(sequence / "01_GT/SEG/man_seg000.tif"),
        "silver": str(sequence / "01_ST/SEG/man_seg000.tif"),
    }
    for transform in load:
        item = transform(item)
    expected = boxes(*GOLD, side=15, size=SIZE).astype(int)
    expected[boxes(*SILVER, side=15, size=SIZE) > 0] = IGNORE
    np.testing.assert_array_equal(item["label"][0], expected.T)


def test_inference_writes_the_challenges_layout(bundle_run, sequence, tmp_path, capsys):
    torch.manual_seed(0)
    network = UNet(2, 1, 2, base_channels=4, depth=2).eval()
    checkpoints.write(tmp_path / "model.pt", network.state_dict())

    def probability(frame: int) -> np.ndarray:
        image = tifffile.imread(sequence / f"01/t{frame:03d}.tif")
        standardized = Standardize()(torch.from_numpy(image.T.astype(np.float32))[None])
        with torch.no_grad():
            return torch.softmax(OverlapTileInferer()(standardized[None], network), dim=1)[0, 1].numpy()

    # in the widest gap near the median: cells in every frame, whatever the last bit of a probability
    values = np.unique(np.quantile(probability(0), np.linspace(0.4, 0.8, 200)))
    widest = int(np.argmax(np.diff(values)))
    options = TrainedNetwork(tmp_path / "model.pt").cell_options(
        threshold=round(float(values[widest : widest + 2].mean()), 6)
    )
    result = bundle_run(
        "run",
        ["configs/inference.json", "configs/ctc_inference.json"],
        dataset_dir=str(sequence / "01"),
        output_dir=str(tmp_path / "out"),
        checkpoint=str(tmp_path / "model.pt"),
        precision="fp32",
        **{"cells#threshold": options.threshold},
    )
    assert result.returncode == 0, result.stderr
    found = sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / "out").rglob("*.*"))
    assert found == [f"out/01_RES/mask{frame:03d}.tif" for frame in range(6)]
    for frame in range(6):
        mask = tifffile.imread(tmp_path / f"out/01_RES/mask{frame:03d}.tif")
        assert mask.dtype == np.uint16
        expected = probability_to_instances(probability(frame), options).T
        assert expected.max() > 0
        assert ((mask > 0) != (expected > 0)).mean() < 0.002
        assert mask.max() == expected.max()
    main(["--truth", str(sequence / "01_GT/SEG"), "--result", str(tmp_path / "out/01_RES")])
    assert "over 12 cells in 6 images" in capsys.readouterr().out

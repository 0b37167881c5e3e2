"""The paper's recipe as a whole: it is what it says, and it learns."""

import pytest
from torch import nn

from bundle.model import checkpoints


@pytest.fixture(scope="module")
def small():
    """Of a few thousand weights, without the normalisation that would help; 52 px of each tile are labelled."""
    length = {"samples_per_epoch": 50, "max_epochs": 6, "best_by": "iou", "run_name": "faithful"}
    return {"base_channels": 8, "tile_size": 92, **length}


def test_it_learns_cells_from_four_images(workflow, small, tmp_path):
    flow = workflow("faithful.json", **small)
    flow.run()
    # a constant rate with momentum 0.99 leads up and down: the best of six validations counts
    assert checkpoints.read(tmp_path / "runs" / "faithful" / "last.pt")["best_metric"] > 0.6  # all cell: 0.35
    parsed = flow.parser.get_parsed_content
    assert not any(isinstance(module, nn.BatchNorm2d) for module in parsed("network").modules())
    (group,) = parsed("optimizer").param_groups
    assert (group["lr"], group["momentum"]) == (group["initial_lr"], 0.99)


def test_the_sample_has_the_papers_weights(workflow, small):
    """Made before the deformation, by the classes of all training images, with a border term on cells, too."""
    parsed = workflow("faithful.json", **small).parser.get_parsed_content
    data, plain = parsed("train#dataset"), parsed("weight_map").weight_map
    assert plain.class_weights is not None
    assert plain.border_on == "everywhere"
    made = {round(float(value), 4) for item in data.cached for value in item["weight"].unique()}
    sample = data[0]
    assert {round(float(value), 4) for value in sample["weight"].unique()} <= made
    assert float(sample["weight"][sample["label"] == 1].max()) > plain.class_weights[1] + 1

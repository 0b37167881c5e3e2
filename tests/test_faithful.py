"""The paper's recipe as a whole: it is what it says, and it learns."""

import pytest
from torch import nn


@pytest.fixture(scope="module")
def small():
    """Of a few thousand weights, without the normalisation that would help; 84 px of each tile are labelled."""
    return {"base_channels": 8, "tile_size": 124, "samples_per_epoch": 150, "max_epochs": 1, "run_name": "faithful"}


def test_it_learns_cells_from_four_images(workflow, small):
    untrained = workflow("faithful.json", **{**small, "samples_per_epoch": 1, "run_name": "untrained"})
    untrained.run()
    flow = workflow("faithful.json", **small)
    flow.run()
    parsed = flow.parser.get_parsed_content
    before, after = (each.parser.get_parsed_content("validate#evaluator").state.metrics for each in (untrained, flow))
    assert after["loss"] < 0.8 * before["loss"]
    assert after["iou"] > 0.55  # of taking all for cell: 0.4
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

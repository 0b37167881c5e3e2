"""What is said of the size of voxels, block by block: what the file states, and nothing else."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import tifffile
import zarr

from bundle.model.trained_network import TrainedNetwork
from tests.conftest import table
from tests.large.images import large, write_network

TAGS = {"resolution": (72, 72), "resolutionunit": "INCH"}
#: 0.5 µm along x and y
PLANES = {"imagej": True, "resolution": (2, 2), "metadata": {"axes": "ZYX", "unit": "um"}}
VOXELS = {**PLANES, "metadata": {"axes": "ZYX", "unit": "um", "spacing": 3.0}}


@pytest.fixture(scope="module", params=[2, 3])
def model(tmp_path_factory, request):
    return write_network(tmp_path_factory.mktemp("models") / f"{request.param}.pt", spatial_dims=request.param)


@pytest.mark.parametrize(("stated", "known"), [(TAGS, ""), (PLANES, "yx"), (VOXELS, "zyx")])
def test_no_size_is_made_up(model, tmp_path, monkeypatch, caplog, stated, known):
    """Resolution tags alone state none, and nobody knows a distance of slices that is not stated."""
    volumes = model.stem == "3"
    monkeypatch.setattr(TrainedNetwork, "card", {"image": {"spacing": [0.5, 0.5, 1.0]}} if volumes else {})
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 34), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, **stated)
    with caplog.at_level(logging.WARNING):
        large(tmp_path / "a.tif", tmp_path / "out", model, tile_size=None).run()
    assert ("its spacing is 0.5 x 0.5 x 3 µm, the network was" in caplog.text) == (volumes and known == "zyx")
    (scales,) = zarr.open_group(tmp_path / "out" / "a_segmentation.ome.zarr").attrs["ome"]["multiscales"]
    known = "" if volumes and known != "zyx" else known
    assert "".join(axis["name"] for axis in scales["axes"] if "unit" in axis) == known
    expected = [{"z": 3.0, "y": 0.5, "x": 0.5}[axis] if axis in known else 1.0 for axis in "zyx"]
    assert scales["datasets"][0]["coordinateTransformations"][0]["scale"] == expected
    if volumes:
        rows = table(tmp_path / "out" / "a_segmentation_cells.csv")
        assert len(rows) > 3
        assert [row["volume_um3"] for row in rows] == [f"{0.75 * int(row['voxels']):.6g}" * bool(known) for row in rows]
        assert bool(table(tmp_path / "out" / "summary.csv")[0]["mean_cell_volume_um3"]) == bool(known)

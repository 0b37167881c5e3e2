"""A network for colour images in the real server: it gets colours, refuses gray, and is trained."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image

from bundle.model import TrainedNetwork
from tests.label import images
from tests.label.conftest import prepare


@pytest.fixture(scope="module")
def colours(cells, tmp_path_factory):
    """A folder of three colour images and a gray one; the pixels of the first (3, rows, columns), and a label."""
    folder = tmp_path_factory.mktemp("colour") / "studies"
    folder.mkdir()
    for number in range(3):
        gray = tifffile.imread(cells / "image" / f"00{number}.tif")[:90, :70]
        stained = np.stack([255 - gray // 3, 255 - gray, 255 - gray[::-1] // 2], axis=-1)
        Image.fromarray(stained).save(folder / f"stained{number}.png")
        if number == 0:
            first = stained.transpose(2, 0, 1)
    Image.fromarray(gray).save(folder / "gray.png")
    return folder, first, tifffile.imread(cells / "label" / "000.tif")[:90, :70]


@pytest.fixture(scope="module")
def server(colours, run_server):
    app = colours[0].parent / "app"
    prepare(app, in_channels=3)
    return run_server(app, colours[0])


def test_a_session_with_colours(server, colours, tmp_path):
    _, pixels, label = colours
    mask = images.read(server.mask("stained0", tmp_path))
    expected = images.logits(server.model, pixels).softmax(0)[1].numpy() > 0.5
    assert expected.any()
    np.testing.assert_array_equal(mask > 0, expected.T)

    answer = server.infer("gray")
    assert answer.status_code == 422
    assert "it has 1 channel, " in answer.text
    assert "model.pt expects 3" in answer.text

    for number in range(2):
        tifffile.imwrite(tmp_path / "label.tif", label.astype(np.uint16))
        assert server.upload(f"stained{number}", tmp_path / "label.tif").status_code == 200
    answer = server.train(max_epochs=1)
    assert answer.status_code == 200, server.log.read_text()[-3000:]
    card = TrainedNetwork(server.model).card
    assert card["image"]["channels"] == card["network"]["in_channels"] == 3
    np.testing.assert_array_equal(
        images.read(server.mask("stained2", tmp_path)) > 0,
        images.logits(server.model, np.asarray(Image.open(colours[0] / "stained2.png")).transpose(2, 0, 1))
        .softmax(0)[1]
        .numpy()
        .T
        > 0.5,
    )

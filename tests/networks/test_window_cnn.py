"""The window network: one pass a window as in the paper, the dense form equal to it, and the sizes of both."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bundle.geometry import WindowGeometry
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.networks import WindowCNN
from bundle.networks.window_cnn import WINDOWS, per_pixel


def small(window: int, **arguments: int) -> WindowCNN:
    torch.manual_seed(window)
    network = WindowCNN(
        **({"in_channels": 1, "out_channels": 2, "base_channels": 3, "hidden_units": 5} | arguments), window=window
    )
    for p in network.parameters():
        if p.dim() == 1:
            nn.init.normal_(p, std=0.1)  # biases that show when they are left out
    return network.eval()


def literal(image: np.ndarray, at: tuple[int, int], network: WindowCNN) -> np.ndarray:
    """One pixel of an image CHW, written out: its window out of the mirrored image, layer by layer with halved maps."""
    m = (network.window - 1) // 2
    mirrored = np.pad(image, [(0, 0), (m, m), (m, m)], mode="reflect")
    x = torch.as_tensor(mirrored[:, at[0] : at[0] + network.window, at[1] : at[1] + network.window])[None]
    weights = network.state_dict()
    for stage, _ in enumerate(WINDOWS[network.window]):
        x = F.conv2d(x, weights[f"stages.{stage}.weight"], weights[f"stages.{stage}.bias"]).clamp(min=0)
        n = x.shape[-1]
        assert n % 2 == 0  # no row of the window is lost
        x = x.reshape(*x.shape[:2], n // 2, 2, n // 2, 2).amax(dim=(3, 5))
    x = weights["hidden.weight"].flatten(1) @ x.flatten() + weights["hidden.bias"]
    return (weights["classify.weight"].flatten(1) @ x.clamp(min=0) + weights["classify.bias"]).numpy()


@pytest.mark.parametrize("window", [65, 95])
@pytest.mark.parametrize("channels", [1, 2])
def test_windows_dense_map_and_the_network_written_out_are_equal(window: int, channels: int) -> None:
    network = small(window, in_channels=channels)
    image = torch.randn(2, channels, window + 3, window + 6)
    with torch.no_grad():
        dense = network(image)
    assert dense.shape == (2, 2, 4, 7)
    m = network.geometry.margin
    one_by_one = per_pixel(network, image, [(m, m + 4), (m, m + 7)], batch_size=5)
    torch.testing.assert_close(dense, one_by_one, rtol=1e-5, atol=1e-5)
    for b, i, j in ((0, 0, 0), (0, 3, 6), (1, 2, 1)):
        expected = literal(image[b].numpy(), (m + i, m + j), network)
        np.testing.assert_allclose(one_by_one[b, :, i, j], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("window", [65, 95])
def test_at_the_papers_size_both_forms_are_equal(window: int) -> None:
    torch.manual_seed(0)
    network = WindowCNN(1, 2, window=window).eval()
    image = torch.randn(1, 1, window, window + 1)
    m = network.geometry.margin
    with torch.no_grad():
        dense = network(image)
    torch.testing.assert_close(dense, per_pixel(network, image, [(m, m + 1), (m, m + 2)]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("tile_size", [None, 80, (67, 95)])
def test_tiles_of_any_size_are_one_pass_a_pixel_of_the_mirrored_image(tile_size: int | tuple[int, int] | None) -> None:
    """An image whose pixels encode their position, so that a tile or window in the wrong place shows itself."""
    network = small(65, base_channels=1)
    n = (65, 67)
    image = torch.arange(n[0] * n[1], dtype=torch.float32).reshape(1, 1, *n) / 1000
    tiled = OverlapTileInferer(tile_size=tile_size)(image, network)
    corners = {(0, 0), (0, 66), (64, 0), (64, 66), (31, 40)}
    for i, j in corners:
        np.testing.assert_allclose(tiled[0, :, i, j], literal(image[0].numpy(), (i, j), network), rtol=1e-4, atol=1e-4)
    region = [(0, 4), (60, 67)]
    one_by_one = per_pixel(network, image, region)
    torch.testing.assert_close(tiled[..., :4, 60:67], one_by_one, rtol=1e-4, atol=1e-4)
    assert len(one_by_one.unique()) > 20


@pytest.mark.parametrize("window", [65, 95])
def test_a_pixel_sees_its_window_and_nothing_else(window: int) -> None:
    network = small(window).double()
    for p in network.parameters():
        p.data.abs_().add_(0.01)
    i, j, last = 2, 1, window - 1
    image = torch.rand(1, 1, window + 4, window + 4, dtype=torch.float64)
    with torch.no_grad():
        before = network(image)[0, 0, i, j]
        for row, column, inside in (
            (i, j, True),
            (i + last, j + last, True),
            (i, j + last, True),
            (i - 1, j + 5, False),
            (i + 5, j - 1, False),
            (i + last + 1, j + last, False),
            (i + last, j + last + 1, False),
        ):
            changed = image.clone()
            changed[0, 0, row, column] += 1e8  # so large that no pooling passes over what comes of it
            assert (network(changed)[0, 0, i, j] != before) == inside, (row, column)


@pytest.mark.parametrize(
    ("window", "stages"),
    [
        # weights and biases by hand: 4x4 5x5 4x4 4x4, then 3 x 3 x 48 values into 200 units, and those into 2 classes
        (95, 48 * 17 + 48 * (48 * 25 + 1) + 2 * 48 * (48 * 16 + 1) + 200 * (48 * 9 + 1) + 402),
        (65, 48 * 17 + 48 * (48 * 16 + 1) + 48 * (48 * 25 + 1) + 200 * (48 * 25 + 1) + 402),
    ],
)
def test_parameters(window: int, stages: int) -> None:
    assert sum(p.numel() for p in WindowCNN(1, 2, window=window).parameters()) == stages


def test_paper_size_has_as_many_parameters_as_documented() -> None:
    assert sum(p.numel() for p in WindowCNN(1, 2).parameters()) == 219_290


def test_three_classes_of_two_channels() -> None:
    network = WindowCNN(2, 3, window=65, base_channels=2)
    assert network(torch.zeros(4, 2, 65, 65)).shape == (4, 3, 1, 1)
    assert network(torch.zeros(1, 2, 65, 70)).shape == (1, 3, 1, 6)


@pytest.mark.parametrize("window", [65, 95])
def test_gradients_of_both_forms_are_equal_and_reach_every_weight(window: int) -> None:
    """Of the sum over all windows of an image; in fp64, where equal means equal."""
    network = small(window).double()
    image = torch.randn(1, 1, window, window + 2, dtype=torch.float64)
    network(image).square().sum().backward()
    dense = [p.grad.clone() for p in network.parameters()]
    network.zero_grad()
    network(torch.cat([image[..., k : k + window] for k in range(3)])).square().sum().backward()
    for found, p in zip(dense, network.parameters(), strict=True):
        torch.testing.assert_close(found, p.grad)
        assert found.abs().max() > 0


def test_learns_one_image_by_heart() -> None:
    """Its windows as a batch; the dense map of the image then says the same."""
    torch.manual_seed(0)
    network = WindowCNN(1, 2, window=65, base_channels=8, hidden_units=20)
    image = torch.randn(1, 1, 65, 70)
    target = torch.tensor([0, 1, 1, 0, 1, 0])
    windows = torch.cat([image[..., k : k + 65] for k in range(6)])
    optimizer = torch.optim.Adam(network.parameters(), lr=0.003)
    for _ in range(40):
        optimizer.zero_grad()
        F.cross_entropy(network(windows)[:, :, 0, 0], target).backward()
        optimizer.step()
    assert (network.eval()(image).argmax(1).flatten() == target).all()


@pytest.mark.parametrize("size", [(65, 65), (65, 66), (70, 68)])
def test_scripted_equals_eager(size: tuple[int, int]) -> None:
    network = small(65)
    scripted = torch.jit.script(network)
    image = torch.randn(2, 1, *size)
    torch.testing.assert_close(scripted(image), network(image))
    assert scripted.window == 65
    with pytest.raises(torch.jit.Error, match="for a window of 65 px: valid sizes are 65 and all above"):
        scripted(torch.zeros(1, 1, 64, 70))


def test_rebuilt_from_its_arguments_and_state_dict(tmp_path) -> None:
    network = small(65)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    other = WindowCNN(in_channels=1, out_channels=2, window=65, base_channels=3, hidden_units=5)
    other.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    image = torch.randn(1, 1, 66, 65)
    assert torch.equal(other.eval()(image), network(image))


@pytest.mark.parametrize("window", [1, 65, 95])
def test_geometry(window: int) -> None:
    geometry = WindowGeometry(window)
    assert geometry.output_size(window) == 1
    assert geometry.output_size(window + 10) == 11
    assert geometry.input_size(512) == 511 + window
    assert geometry.margin * 2 + 1 == window
    assert (geometry.step, geometry.seamless) == (1, True)
    assert not geometry.is_valid(window - 1)


@pytest.mark.parametrize(
    ("window", "message"),
    [(94, "window must be odd, got 94; the nearest are 93 and 95"), (0, "window must be an integer of at least 1")],
)
def test_a_window_without_a_middle_is_refused(window: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WindowGeometry(window)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"window": 64}, "window must be 65 or 95 px, got 64; the nearest is 65"),
        ({"window": 300}, "the nearest is 95"),
        ({"window": "65"}, r"window must be 65 or 95 px, got '65'$"),
        ({"in_channels": 0}, "in_channels must be an integer of at least 1"),
        ({"base_channels": 2.5}, "base_channels must be an integer"),
        ({"hidden_units": True}, "hidden_units must be an integer"),
    ],
)
def test_bad_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WindowCNN(**({"in_channels": 1, "out_channels": 2} | arguments))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 1, 64, 80), "input size 64 px is not valid for a window of 65 px.*nearest are 65 and 66"),
        ((1, 2, 65, 65), "in_channels = 1 channels, got 2"),
        ((1, 65, 65), "must have 4 axes"),
    ],
)
def test_bad_inputs(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(65)(torch.zeros(shape))


@pytest.mark.parametrize(
    ("window", "size", "options", "message"),
    [
        (
            95,
            (120, 80),
            {},
            r"window 95 px is larger than the image of \(120, 80\) px.*95 px.*network with a window of 65",
        ),
        (65, (64, 70), {}, r"images of at least 65 px along both axes$"),
        (65, (65, 70), {"region": [(0, 66), (0, 70)]}, r"within \(0, 65\) and \(0, 70\) px"),
        (65, (65, 70), {"region": [(3, 3), (0, 70)]}, "not empty"),
        (65, (65, 70), {"region": [(0, 5)]}, "along both axes"),
        (65, (65, 70), {"batch_size": 0}, "batch_size must be at least 1 window, got 0"),
    ],
)
def test_pixels_that_cannot_be_classified_are_refused(
    window: int, size: tuple[int, int], options: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        per_pixel(small(window), torch.zeros(1, 1, *size), **options)

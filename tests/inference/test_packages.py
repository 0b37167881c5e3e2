"""What a package holds equals our inference; whatever would not is refused. The programs: tests/packages."""

import ast
import io
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import tifffile
import torch
import yaml
from monai.bundle import ConfigParser

from bundle import networks
from bundle.data.loading import LoadSliced
from bundle.inference.overlap_tile import OverlapTileInferer
from bundle.inference.packages import Package, proof, zoo
from bundle.inference.packages.sources import BUILDER, architecture
from bundle.inference.packages.wrapper import PackagedNetwork, rows_and_columns
from bundle.inference.packages.zoo import hub_card, stage
from bundle.model import TrainedNetwork, card, checkpoints
from bundle.networks import UNet, WindowCNN
from tests.conftest import ROOT

UNET = {"spatial_dims": 2, "in_channels": 2, "out_channels": 3, "base_channels": 2, "depth": 2, "norm": "batch"}


def trained(folder, name="UNet", image=None, classes=None, **arguments) -> TrainedNetwork:
    torch.manual_seed(0)
    network = getattr(networks, name)(**arguments)
    told = {"network": {"_target_": f"bundle.networks.{name}", **arguments}, **({"image": image} if image else {})}
    checkpoints.write(folder / "cells.pt", network.state_dict())
    card.write_card(
        folder / "cells.json", {**told, **({"classes": classes} if classes else {})}, of=folder / "cells.pt"
    )
    return TrainedNetwork(folder / "cells.pt")


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """Folder and network of a package of two channels and three classes."""
    folder = tmp_path_factory.mktemp("package")
    network = trained(folder, classes=["background", "nucleus", "1 spot"], **UNET)
    Package(network, authors=["A. Name"]).write(folder / "packages")
    return folder / "packages", network


def read(file) -> tuple[dict, dict[str, bytes]]:
    with zipfile.ZipFile(file) as packed:
        files = {name: packed.read(name) for name in packed.namelist()}
    return yaml.safe_load(files["rdf.yaml"]), files


@pytest.mark.parametrize(
    "network",
    [
        lambda: UNet(2, 1, 2, base_channels=2, depth=1),
        lambda: UNet(2, 1, 2, base_channels=2, depth=3, up_relu=True),
        lambda: WindowCNN(1, 2, window=65, base_channels=2, hidden_units=4),
    ],
    ids=["depth 1", "depth 3", "window"],
)
def test_blocks_of_any_geometry_equal_the_inferer(network):
    torch.manual_seed(0)  # of other weights, all may be dead, and every image gives the same
    network = network().eval()
    axis = network.geometry.axes(1)[0]
    image = torch.rand(1, 1, 2 * axis.halo + 7 * axis.step, 2 * axis.halo + 9 * axis.step)
    proof.require_equal(PackagedNetwork(network).eval(), network, image, "it")
    with pytest.raises(RuntimeError, match=r"differs by .* please report"):
        proof.require_equal(lambda x: PackagedNetwork(network)(x.flip(-1)), network, image, "it")


def test_a_halo_of_the_margin_alone_is_not_exact():
    """What a naive package would say; the official test of bioimage.io does not notice."""
    network = UNet(2, 1, 2, base_channels=2, depth=3).eval()
    image = torch.rand(1, 1, 160, 160)
    margin, step = network.geometry.margin, network.geometry.step
    assert margin % step
    with torch.no_grad():
        found = proof.blockwise(PackagedNetwork(network), image, (margin, margin), (6 * step, 6 * step))
        ours = proof.inferred(network, image)
    assert abs(found - ours).max() > 100 * proof.TOLERANCE


def test_whole_images_of_any_size_equal_the_inferer():
    network = UNet(2, 1, 2, base_channels=2, depth=2).eval()
    for rows, columns in ((30, 31), (32, 33), (45, 27)):
        image = torch.rand(1, 1, rows, columns)
        with torch.no_grad():
            torch.testing.assert_close(PackagedNetwork(network)(image), proof.inferred(network, image))


@pytest.mark.parametrize("network", [UNet, WindowCNN])  # the others are padded
def test_the_code_of_a_package_needs_torch_alone(network):
    code = architecture(network)
    assert f"def {BUILDER}(" in code
    imported = {
        (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name).partition(".")[0]
        for node in ast.walk(ast.parse(code))
        if isinstance(node, (ast.Import, ast.ImportFrom))
    }
    assert imported - set(sys.stdlib_module_names) == {"torch"}


def test_the_code_runs_where_this_bundle_is_not(tmp_path):
    (tmp_path / "architecture.py").write_text(architecture(UNet))
    words = f"import architecture as a, sys; a.{BUILDER}(**{UNET!r}); assert 'bundle' not in sys.modules"
    subprocess.run([sys.executable, "-c", words], cwd=tmp_path, check=True)


def test_the_description_follows_the_geometry_and_the_card(package):
    folder, _ = package
    rdf, files = read(folder / "cells.zip")
    (given,), (found,) = rdf["inputs"], rdf["outputs"]
    assert [axis["size"] for axis in given["axes"][2:]] == [{"min": 44, "step": 4}] * 2
    assert [axis["halo"] for axis in found["axes"][2:]] == [20, 20]
    assert found["axes"][1]["channel_names"] == ["background", "nucleus", "_1_spot"]
    assert len(given["axes"][1]["channel_names"]) == 2
    assert rdf["weights"]["pytorch_state_dict"]["architecture"]["kwargs"] == UNET
    assert "pad" not in given
    newer, _ = read(folder / "cells-0.5.12.zip")
    assert newer["inputs"][0].pop("pad") == {"mode": "reflect"}
    changed = {name for name in rdf if rdf[name] != newer[name]}
    assert changed == {"format_version", "documentation", "covers"}
    for name in ("# Validation", "44", "nucleus", "unknown training"):
        assert name in files["README.md"].decode()


def test_the_test_tensors_are_what_the_files_give(package):
    """As a program does it: standardise, run, compare."""
    _, files = read(package[0] / "cells.zip")
    image, expected = (np.load(io.BytesIO(files[f"test_{name}.npy"])) for name in ("image", "probability"))
    eps = 1e-6
    image = (image - image.mean((2, 3), keepdims=True)) / (image.std((2, 3), keepdims=True) + eps)
    with torch.no_grad():
        found = torch.jit.load(io.BytesIO(files["weights.ts"]))(torch.from_numpy(image))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)
    assert expected.shape[1] == 3


def test_no_file_tells_of_the_machine(package):
    for name, content in read(package[0] / "cells.zip")[1].items():
        assert str(ROOT).encode() not in content, name
        if name == "weights.ts":
            with zipfile.ZipFile(io.BytesIO(content)) as inner:
                assert not [part for part in inner.namelist() if str(ROOT).encode() in inner.read(part)]


@pytest.mark.parametrize(
    ("arguments", "image", "reason"),
    [
        ({**UNET, "spatial_dims": 3}, None, "network of volumes"),
        ({**UNET, "padding": "same"}, None, "blocks would show seams"),
        ({**UNET, "in_channels": 3}, {"channels": 1, "context_slices": 1}, "neighbouring slices"),
        (UNET, {"channels": 2, "standardize": {"robust": True}}, "clipped gray values"),
    ],
)
def test_what_a_package_could_not_hold_exactly_is_refused(tmp_path, arguments, image, reason):
    network = trained(tmp_path, image=image, **arguments)
    with pytest.raises(ValueError, match=rf"cells.pt cannot become a package: it .*{reason}.*inference.json"):
        Package(network, authors=["A. Name"]).write(tmp_path / "packages")
    assert list((tmp_path / "packages").iterdir()) == []


def test_a_sample_on_which_every_mistake_would_pass_is_refused(tmp_path):
    network = trained(tmp_path, **{**UNET, "in_channels": 1})
    tifffile.imwrite(tmp_path / "flat.tif", np.full((96, 96), 7, np.uint8))
    with pytest.raises(ValueError, match=r"one probability all over .*flat.tif.*by --sample"):
        Package(network, authors=["A. Name"], sample=tmp_path / "flat.tif").write(tmp_path / "packages")


def test_a_package_names_its_authors(tmp_path):
    network = trained(tmp_path, **UNET)
    with pytest.raises(ValueError, match="authors must name who trained the network, got None: give --authors"):
        Package(network)
    with pytest.raises(ValueError, match="title must be 5 to 64"):
        Package(network, authors=["A. Name"], title="a/b")


def test_the_config_makes_a_package_of_each_shipped_network():
    """All but the export itself, which takes a minute."""
    abouts = sorted((ROOT / "configs" / "packages").glob("*.json"))
    assert [about.stem for about in abouts] == ["em_membranes", "nuclei"]
    for about in abouts:
        model = ROOT / "models" / f"{about.stem}.pt"
        parser = ConfigParser()
        parser.read_config([str(ROOT / "configs" / name) for name in ("inference.json", "package.json")] + [str(about)])
        parser.update({"bundle_root": str(ROOT), "checkpoint": str(model)})
        made = parser.get_parsed_content("package")
        assert made.about["authors"]
        assert made.terms
        assert made.cover
        assert all((ROOT / str(file)).is_file() for file in (made.terms, made.cover, made.notes) if file)


def test_the_hubs_card_has_front_matter_that_can_be_read():
    text = hub_card(TrainedNetwork(ROOT / "models" / "em_membranes.pt"))
    _, front, rest = text.split("---\n", 2)
    told = yaml.safe_load(front)
    assert told["library_name"] == "monai"
    assert told["model-index"][0]["results"][0]["metrics"][1] == {"type": "pixel_error", "value": 0.0545677}
    assert rest.lstrip().startswith("# Model overview")


def test_a_staged_bundle_is_complete_and_never_written_over(tmp_path):
    folder = stage(ROOT / "models" / "em_membranes.pt", tmp_path / "zoo" / "seamless_unet")
    for name in ("configs/metadata.json", "configs/inference.json", "LICENSE", "docs/README.md", "models/model.pt"):
        assert (folder / name).is_file(), name
    assert json.loads((folder / "models" / "model.json").read_text())["network"]["depth"] == 4
    assert not list(folder.rglob("__pycache__"))
    with pytest.raises(FileExistsError, match="is not empty"):
        stage(ROOT / "models" / "em_membranes.pt", folder)


def test_a_step_of_the_zoo_that_fails_ends_the_command_in_one_line(monkeypatch):
    def fail(*_):
        raise subprocess.CalledProcessError(1, ["verify_metadata"])

    monkeypatch.setattr(zoo, "stage", lambda *_: None)
    monkeypatch.setattr(zoo, "verify", fail)
    with pytest.raises(SystemExit, match=r"error: Command .*verify_metadata.* returned non-zero exit status 1"):
        zoo._main([])


def test_the_sample_is_read_and_shown_as_other_programs_do(package, tmp_path):
    """Rows first, and the very result of configs/inference.json, which reads columns first."""
    image = np.random.RandomState(0).randint(0, 255, (90, 80)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", image)
    network = trained(tmp_path, **{**UNET, "in_channels": 1})
    axes = rows_and_columns(network.build())
    found = Package(network, authors=["A. Name"], sample=tmp_path / "a.tif")._image(axes)[0].numpy()
    rows, columns = found.shape
    top, left = (90 - rows) // 2, (80 - columns) // 2
    np.testing.assert_array_equal(found, image[top : top + rows, left : left + columns])
    loaded = LoadSliced("image")({"image": str(tmp_path / "a.tif")})["image"]
    ours = OverlapTileInferer(probability_of="all")(loaded[None].float(), network.load().eval())
    with torch.no_grad():
        packaged = PackagedNetwork(network.load().eval())(torch.from_numpy(image[None, None]).float())
    torch.testing.assert_close(packaged, ours.as_tensor().transpose(2, 3), atol=1e-5, rtol=0)

"""Large images through ``configs/inference.json``: the same bits as the same image in memory."""

import re

import numpy as np
import pytest
import tifffile
import zarr

from bundle.data.stores import LazyImage
from bundle.inference import one_image
from bundle.inference.one_image import RequireMemoryd
from bundle.large import SortedImages, page_entry, result_store
from bundle.large.cells.grid import Grid
from bundle.large.probability import ProbabilityBlocks
from bundle.output.result_page import ResultPage
from bundle.output.tables import CELLS_OF_VOLUMES
from tests.conftest import inference, said_by, table
from tests.data.test_stores import write_store
from tests.large.images import TILE, cells, probability, write_network

RANDOM = np.random.default_rng(0)


def infer(folder, images, out, model="model.pt", **options):
    fixed = {
        "dataset_dir": images,
        "output_dir": folder / out,
        "checkpoint": folder / model,
        "tile_size": TILE,
        "precision": "fp32",
        "cells#threshold": 0.9,
        "cells#min_size": 3,
        "cluster": "serial",
        "device": "$torch.device('cpu')",
    }
    inference(**fixed | options).run()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    write_network(folder / "model.pt")
    write_network(folder / "colours.pt", channels=3)
    write_network(folder / "volumes.pt", spatial_dims=3)
    write_network(folder / "classes.pt", classes=3)
    images = {
        "gray": RANDOM.integers(0, 60000, (130, 90), np.uint16),
        "stack": RANDOM.integers(0, 255, (3, 60, 101), np.uint8),
        "decimal": RANDOM.normal(0, 30, (70, 99)).astype(np.float32),
    }
    (folder / "images").mkdir()
    (folder / "stores").mkdir()
    for name, pixels in images.items():
        tifffile.imwrite(folder / "images" / f"{name}.tif", pixels, photometric="minisblack")
        axes = "yx" if pixels.ndim == 2 else "zyx"
        write_store(folder / "stores" / f"{name}.zarr", [pixels], axes, version="0.4" if name == "stack" else "0.5")
    tifffile.imwrite(folder / "colours.tif", RANDOM.integers(0, 255, (64, 75, 3), np.uint8), photometric="rgb")
    infer(folder, folder / "images", "whole")
    return folder


def whole(folder, name, out="whole"):
    return tifffile.imread(folder / out / f"{name}_probability.tif").T


def shown(folder):
    """name -> (number of cells, pictures of outlines and probability) of the page."""
    text = (folder / "index.html").read_text(encoding="utf-8")
    figures = re.findall(r'<figure data-name="([^"]*)".*? data-cells="(\d+)"(.*?)</figure>', text, re.DOTALL)
    return {name: (count, *re.findall(r"base64,([^\"]+)", rest)[1:]) for name, count, rest in figures}


@pytest.mark.parametrize("images", ["images", "stores"])
def test_block_by_block_to_the_bit(folder, images):
    """TIFFs where that is asked for, stores by themselves."""
    infer(folder, folder / images, f"by-{images}", by_blocks="true" if images == "images" else "auto", block_size=44)
    for name in ("gray", "stack", "decimal"):
        assert probability(folder / f"by-{images}", name).tobytes() == whole(folder, name).tobytes()
        expected = tifffile.imread(folder / "whole" / f"{name}_cells.tif").T
        np.testing.assert_array_equal(cells(folder / f"by-{images}", name), expected)
        assert expected.max() > 3
        rows = table(folder / f"by-{images}" / f"{name}_segmentation_cells.csv")
        assert [int(row["instance"]) for row in rows] == list(range(1, expected.max() + 1))
        assert [int(row["area_px"]) for row in rows] == np.bincount(expected.ravel())[1:].tolist()
    assert shown(folder / f"by-{images}") == shown(folder / "whole")
    assert len(shown(folder / "whole")) == 3
    told, of_whole = summary(folder / f"by-{images}"), summary(folder / "whole")
    assert [row["cells"] for row in told] == [row["cells"] for row in of_whole]
    assert [row["foreground_fraction"] for row in told] == [row["foreground_fraction"] for row in of_whole]


@pytest.mark.parametrize(
    "options",
    [
        {"cells#low_threshold": 0.8, "cells#min_size": 3, "cells#close_gaps": 1},
        {"cells#split_by": "distance", "cells#split_distance": 2, "cells#min_size": 0},
    ],
)
def test_cells_read_otherwise_need_no_network_again(folder, options, tmp_path, monkeypatch):
    infer(folder, folder / "images" / "gray.tif", tmp_path / "whole", **options)
    infer(folder, folder / "stores" / "gray.zarr", tmp_path / "out")
    monkeypatch.setattr(ProbabilityBlocks, "__call__", None)
    infer(folder, folder / "stores" / "gray.zarr", tmp_path / "out", **options)
    expected = tifffile.imread(tmp_path / "whole" / "gray_cells.tif").T
    np.testing.assert_array_equal(cells(tmp_path / "out", "gray"), expected)


def summary(out):
    return sorted(table(out / "summary.csv"), key=lambda row: row["file"])


@pytest.mark.parametrize(("model", "channels"), [("colours.pt", None), ("model.pt", "luminance"), ("model.pt", [1])])
def test_colours(folder, model, channels):
    options = {"model": model, **({} if channels is None else {"channels": channels})}
    name = f"{model}-{channels}"
    infer(folder, folder / "colours.tif", f"{name}-whole", **options)
    infer(folder, folder / "colours.tif", name, by_blocks="true", block_size=44, **options)
    assert probability(folder / name, "colours").tobytes() == whole(folder, "colours", f"{name}-whole").tobytes()


def test_volumes(folder):
    options = {"model": "volumes.pt", "tile_size": [36, 36, 22], "spacing": [1, 1, 2]}
    infer(folder, folder / "stores" / "stack.zarr", "volume", **options)
    infer(folder, folder / "images" / "stack.tif", "volume-whole", **options)
    assert probability(folder / "volume", "stack").tobytes() == whole(folder, "stack", "volume-whole").tobytes()
    expected = tifffile.imread(folder / "volume-whole" / "stack_cells.tif").T
    np.testing.assert_array_equal(cells(folder / "volume", "stack"), expected)
    tables = [folder / "volume" / "stack_segmentation_cells.csv", folder / "volume-whole" / "stack_cells.csv"]
    by_blocks, of_whole = map(table, tables)
    assert by_blocks == [{name: row[name] for name in CELLS_OF_VOLUMES} for row in of_whole] != []
    assert summary(folder / "volume")[0].items() - summary(folder / "volume-whole")[0].items() == {
        ("file", "stack.zarr"),
        ("output", "stack_segmentation"),
    }


@pytest.mark.parametrize("image", ["gray", "stack"])
def test_several_classes_turned_images_and_clipped_gray_values(folder, image):
    options = {"model": "classes.pt", "tta": "d4", "tile_size": [84, 88], "standardize#robust": True}
    options |= {"cells#threshold": 0.75}
    infer(folder, folder / "images" / f"{image}.tif", f"{image}-classes-whole", **options)
    infer(folder, folder / "stores" / f"{image}.zarr", f"{image}-classes", **options)
    group = zarr.open_group(folder / f"{image}-classes" / f"{image}_segmentation.ome.zarr", mode="r")
    for name, place in (("probability", "0"), ("cells", "labels/cells/0"), ("classes", "labels/classes/0")):
        expected = tifffile.imread(folder / f"{image}-classes-whole" / f"{image}_{name}.tif")
        found = np.asarray(group[place][:])
        assert found.astype(expected.dtype).tobytes() == expected.tobytes(), name
    files = f"{image}-classes/{image}_segmentation_cells.csv", f"{image}-classes-whole/{image}_cells.csv"
    rows = [[(row["instance"], row["class"], row["area_px"]) for row in table(folder / file)] for file in files]
    assert rows[0] == rows[1]
    assert len(rows[0]) > 3
    told, of_whole = (summary(folder / name)[0] for name in (f"{image}-classes", f"{image}-classes-whole"))
    assert told.keys() == of_whole.keys()
    assert {key for key in told if told[key] != of_whole[key]} == {"file", "output"}
    pages = [shown(folder / name)[image] for name in (f"{image}-classes", f"{image}-classes-whole")]
    assert pages[0] == pages[1]


def test_the_page_shows_a_coarse_level(folder, tmp_path, monkeypatch):
    """Each px as it lies in the files, whatever the parts in which the image is read."""
    monkeypatch.setattr(result_store, "_SMALLEST", 40)
    monkeypatch.setattr(page_entry, "_SIDE", 40)
    monkeypatch.setattr(ResultPage, "add", lambda self, *place, **named: added.append((place, named)))
    monkeypatch.setattr(LazyImage, "regions", lambda self: Grid(self.size, (33, 50)))
    added = []
    infer(folder, folder / "stores" / "gray.zarr", tmp_path)
    (((name, shown, _), named),) = added
    whole = tifffile.imread(folder / "images" / "gray.tif").T
    np.testing.assert_array_equal(shown.image[0], whole[::4, ::4])
    group = zarr.open_group(tmp_path / "gray_segmentation.ome.zarr", mode="r")
    np.testing.assert_array_equal(shown.probability[0], np.asarray(group["2"][:]).T)
    coarse = np.asarray(group["labels/cells/2"][:]).T
    np.testing.assert_array_equal(shown.cells > 0, coarse > 0)
    assert len(np.unique(shown.cells)) == len(np.unique(coarse))
    assert (name, named["counted"]["cells"]) == ("gray", int(np.asarray(group["labels/cells/0"][:]).max()))


def test_what_does_not_fit_goes_by_blocks_by_itself_and_the_others_do_not(folder, monkeypatch, caplog):
    monkeypatch.setattr(one_image, "free_memory", lambda device: one_image.BYTES_PER_PIXEL * 100 * 100)
    with caplog.at_level("INFO"):
        infer(folder, folder / "images", "auto")
    assert "gray.tif is segmented block by block: its 90 x 130 px need about" in caplog.text
    names = {path.name for path in (folder / "auto").iterdir()}
    assert names >= {"gray_segmentation.ome.zarr", "stack_segmentation.ome.zarr", "decimal_probability.tif"}
    assert "gray_probability.tif" not in names
    for name in ("gray", "stack"):
        assert probability(folder / "auto", name).tobytes() == whole(folder, name).tobytes()


def test_fewer_bits_in_memory_are_those_of_the_store(folder):
    infer(folder, folder / "images" / "gray.tif", "bits-whole", probability_dtype="uint8")
    infer(folder, folder / "stores" / "gray.zarr", "bits", probability_dtype="uint8")
    stored = probability(folder / "bits", "gray")
    assert stored.dtype == np.uint8
    assert (stored.astype(np.float32) / np.float32(255)).tobytes() == whole(folder, "gray", "bits-whole").tobytes()


def test_one_image_that_fails_costs_no_other(folder, tmp_path):
    for name in ("a", "b"):
        write_store(tmp_path / "in" / f"{name}.zarr", [RANDOM.integers(0, 99, (50, 50), np.uint8)], "yx")
    write_store(tmp_path / "in" / "b.ome.zarr", [np.ones((5, 5), np.uint8)], "yx")
    write_store(tmp_path / "in" / "c.zarr", [np.ones((4, 5, 5), np.uint8)], "cyx")
    tifffile.imwrite(tmp_path / "in" / "d.tif", np.full((20, 20), np.nan, np.float32))
    said = said_by(lambda: infer(folder, tmp_path / "in", tmp_path / "out"))
    assert "d.tif (400 of its pixels are NaN" in said
    assert "b.zarr: its results would have the same name as those of " in said
    assert "c.zarr: it has 4 channels, " in said
    assert 0 < probability(tmp_path / "out", "a").mean() < 1
    assert 0 <= probability(tmp_path / "out", "b").mean() <= 1


@pytest.mark.parametrize(
    ("option", "options"),
    [
        ("plan", {"plan": "true"}),
        ("by_blocks", {"by_blocks": "true"}),
        ("level", {"level": 0}),
        ("pixel_size", {"pixel_size": 0.5}),
    ],
)
def test_what_does_nothing_for_images_in_memory_is_said(tmp_path, caplog, option, options):
    for name in ("a.tif", "b.tif", "c.nii.gz", "d.png"):
        (tmp_path / name).touch()
    found = SortedImages(tmp_path, require_memory=RequireMemoryd("image"), **{"by_blocks": "auto", **options})
    said = [record.getMessage() for record in caplog.records]
    tiffs = 0 if option == "by_blocks" else 2
    assert len(found.whole) == 2 + tiffs
    assert said.pop() == (
        f"--{option} does nothing for {tmp_path / 'c.nii.gz'} (and 1 more), which goes in memory: convert it, once: "
        f"python -m bundle.large.convert {tmp_path / 'c.nii.gz'} {tmp_path / 'c.ome.zarr'}"
    )
    told = "a.tif (and 1 more), which goes in memory: --by_blocks true takes it by blocks"
    assert [text.endswith(told) for text in said] == [True] * (tiffs // 2)


def test_nothing_readable_is_said(folder, tmp_path):
    assert "holds no image; readable are" in said_by(lambda: infer(folder, tmp_path, tmp_path / "out"))


def test_without_zarr_the_message_says_what_to_install(folder, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "zarr", None)
    assert 'need zarr, not installed here: pip install -e ".[large]"' in said_by(
        lambda: infer(folder, folder / "stores", "no-zarr")
    )

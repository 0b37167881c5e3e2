"""The package: its manifest, that it imports nothing of the bundle, and results of an inference as layers."""

from __future__ import annotations

import ast
import csv
import sys
from pathlib import Path

import npe2
import numpy as np
import pytest
import seamless_annotator
import tifffile
from napari.components import ViewerModel
from npe2 import PluginManager, PluginManifest
from seamless_annotator.results import reader_of

from tests.display import NO_WINDOW

PACKAGE = Path(seamless_annotator.__file__).parent


@pytest.mark.skipif(bool(NO_WINDOW), reason=NO_WINDOW)
def test_the_manifest_is_valid_and_its_commands_exist():
    manifest = PluginManifest.from_file(PACKAGE / "napari.yaml")
    manifest.validate_imports()
    assert [widget.display_name for widget in manifest.contributions.widgets] == ["Correct cells"]


def test_it_imports_nothing_of_the_bundle():
    known = {"seamless_annotator", "napari", "numpy", "scipy", "skimage", "tifffile", "requests", "qtpy"}
    for file in PACKAGE.glob("*.py"):
        tree = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        names = set()
        for node in tree:
            if isinstance(node, ast.Import):
                names |= {name.name.split(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0
                names.add(str(node.module).split(".")[0])
        assert not names & {"bundle", "transforms", "label_app", "monai", "torch"}, file
        assert names <= known | set(sys.stdlib_module_names), (file, names)


@pytest.fixture
def results(tmp_path):
    """As inference writes them: of one image in its own folder, of another that has gone."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out" / "more").mkdir(parents=True)
    rows = []
    for number, name in enumerate(("a", "more/b")):
        image, stem = tmp_path / "in" / f"{Path(name).name}.tif", tmp_path / "out" / name
        if name == "a":
            tifffile.imwrite(image, np.full((8, 9), 7, np.uint8))
        tifffile.imwrite(f"{stem}_cells.tif", np.full((8, 9), number + 1, np.uint16))
        tifffile.imwrite(f"{stem}_probability.tif", np.full((8, 9), 0.25, np.float32))
        rows.append({"file": str(image), "cells": 1, "output": name})
    with (tmp_path / "out" / "summary.csv").open("w", newline="") as stream:
        table = csv.DictWriter(stream, rows[0])
        table.writeheader()
        table.writerows(rows)
    return tmp_path / "out"


def test_a_folder_of_results_opens_as_layers(results):
    viewer = ViewerModel()
    for data, about, kind in reader_of(str(results))(str(results)):
        getattr(viewer, f"add_{kind}")(data, **about)
    assert [layer.name for layer in viewer.layers] == ["a", "a probability", "a cells", "b probability", "b cells"]
    np.testing.assert_array_equal(viewer.layers["a"].data, 7)
    np.testing.assert_array_equal(viewer.layers["a probability"].data, np.float32(0.25))
    np.testing.assert_array_equal(viewer.layers["b cells"].data, 2)
    assert not viewer.layers["a probability"].visible


def test_a_single_result_opens_with_its_image(results):
    file = str(results / "a_cells.tif")
    assert [about["name"] for _, about, _ in reader_of(file)(file)] == ["a", "a probability", "a cells"]


def test_other_folders_and_files_are_left_to_others(tmp_path):
    tifffile.imwrite(tmp_path / "plain.tif", np.zeros((4, 4), np.uint8))
    assert reader_of(str(tmp_path)) is None
    assert reader_of(str(tmp_path / "plain.tif")) is None


def test_napari_finds_the_reader_by_the_name_of_the_plugin(results):
    PluginManager.instance().discover()
    layers = npe2.read([str(results)], plugin_name="seamless-annotator", stack=False)
    assert [about["name"] for _, about, _ in layers] == ["a", "a probability", "a cells", "b probability", "b cells"]

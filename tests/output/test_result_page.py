"""The page of a folder of results: what is on it, in which order, and that it stands alone."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import tifffile
from ignite.engine import Engine
from PIL import Image
from scipy.ndimage import binary_erosion

from bundle.data.loading import LoadSliced
from bundle.output import result_page
from bundle.output.histogram import bars
from bundle.output.overlay import overlay
from bundle.output.result_page import ResultPage, WritePage, doubt
from bundle.output.segmented import Segmented
from bundle.output.writer import SegmentationWriter
from tests.conftest import table

CELLS = np.zeros((40, 30), np.int32)
CELLS[5:15, 5:20] = 1
CELLS[20:35, 10:25] = 2


def results(folder, unsure, **options):
    """Results of an image for each probability in its cells."""
    (folder / "in").mkdir()
    write = SegmentationWriter(folder / "my results", **options)
    for name, p in unsure.items():
        pixels = (CELLS.T * 40 + 50).astype(np.uint8)
        tifffile.imwrite(folder / "in" / name, pixels, imagej=True, resolution=(2, 2), metadata={"unit": "um"})
        image = LoadSliced("image")({"image": str(folder / "in" / name)})["image"]
        probability = np.where(CELLS > 0, p, 0)[None].astype(np.float32)
        write({"image": image, "probability": probability, "instances": CELLS[None]})
    return write


def page_of(write):
    return write.page.write().read_text(encoding="utf-8")


def test_most_doubtful_first_with_pictures_inside_and_links_that_exist(tmp_path):
    write = results(tmp_path, {"sure.tif": 0.99, "unsure.tif": 0.6, "a & b #1.tif": 0.8}, export="rois,geojson")
    text = page_of(write)
    assert re.findall(r'data-name="([^"]*)"', text) == ["unsure", "a &amp; b #1", "sure"]
    assert "<title>my results: segmented</title>" in text
    assert "<b>3</b> images · <b>6</b> cells" in text
    links = {unquote(link) for link in re.findall(r'href="([^"]*)"', text)}
    assert {"a & b #1_rois.zip", "a & b #1_cells.geojson", "cells.csv", "summary.csv", "sure_cells.csv"} <= links
    assert all((tmp_path / "my results" / link).is_file() for link in links)
    assert not re.search(r'(src|href)="(?!data:|[^":]*")', text)  # nothing is fetched from elsewhere
    assert text.count("<b>5 µm</b>") == 3


def test_pictures_show_image_outlines_and_probability(tmp_path):
    text = page_of(results(tmp_path, {"a.tif": 0.7}))
    pictures = [
        Image.open(io.BytesIO(base64.b64decode(data)))
        for data in re.findall(r'src="data:image/\w+;base64,([^"]+)"', text)
    ]
    image, outlines, probability = (np.asarray(each.convert("RGBA")).astype(int) for each in pictures)
    assert image.shape == outlines.shape == probability.shape == (480, 640, 4)
    inside, edge = (np.zeros((480, 640), bool) for _ in range(2))
    for number in (1, 2):
        cell = (number == CELLS.T).repeat(16, axis=0).repeat(16, axis=1)
        core = binary_erosion(cell, iterations=3)
        inside |= core
        edge |= cell & ~core
    assert (outlines[..., 3] > 0).sum() == pytest.approx(edge.sum(), abs=40)  # corners
    assert not outlines[inside, 3].any()
    assert image[inside].mean() > image[~(inside | edge)].mean() + 100
    assert probability[inside, 0].mean() == pytest.approx(0.7 * 255, abs=1)


def test_doubt():
    cells = np.zeros((4, 5), int)
    cells[:2] = 1
    assert doubt(cells.astype(float), cells) == doubt(np.zeros((4, 5)), cells * 0) == 0
    assert doubt(np.full((4, 5), 0.5), cells) == 1
    missed = np.zeros((4, 5))
    missed[0, 0] = 0.4
    assert doubt(missed, cells * 0) == pytest.approx(0.8)
    assert doubt(np.where(cells, 0.9, 0.0), cells) == pytest.approx(0.2)


def test_many_images_keep_the_most_doubtful_pictures_and_name_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(result_page, "_MOST", 2)
    text = page_of(results(tmp_path, {f"{n}.tif": 0.99 - n / 10 for n in range(4)}))
    assert re.findall(r'data-name="([^"]*)"', text) == ["3", "2"]
    assert re.findall(r'<th scope="row">(\d)</th>', text) == ["1", "0"]
    assert "The 2 most doubtful images" in text


def test_volumes_show_their_middle_and_classes_their_colours(tmp_path):
    page = ResultPage(tmp_path, ["ground", "round", "rod"])
    cells = np.stack([CELLS * 0, CELLS, CELLS * 0], axis=-1)
    probability = np.stack([1.0 - (cells > 0), (cells == 1) * 0.9, (cells == 2) * 0.9])
    files = {"cells": str(tmp_path / "a_cells.tif")}
    found = Segmented(Path("a"), {}, np.zeros((2, 40, 30, 3)), probability, cells, class_of=np.array([0, 1, 2]))
    page.add("a", found, files)
    text = page.write().read_text(encoding="utf-8")
    assert "2 cells (1 round, 1 rod)" in text
    assert "slice 2 of 3" in text
    assert re.findall(r'<i style="background: (#\w+)"></i>(\w+)', text) == [("#40c4ff", "round"), ("#ffb300", "rod")]
    _, outlines, shade = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(each))).convert("RGBA"))
        for each in re.findall(r"base64,([^\"]+)", text)
    )
    found = {tuple(colour) for colour in outlines[outlines[..., 3] > 0][:, :3].tolist()}
    assert found == {(64, 196, 255), (255, 179, 0)}
    np.testing.assert_allclose(shade[10 * 16, 10 * 16, :3], np.array([64, 196, 255]) * 0.9, atol=6)


def test_no_cells_and_no_images(tmp_path):
    page = ResultPage(tmp_path)
    assert "<b>0</b> images" in page.write().read_text(encoding="utf-8")
    page.add("a", Segmented(Path("a"), {}, np.zeros((1, 4, 5)), np.zeros((1, 4, 5)), np.zeros((4, 5), int)), {})
    assert "0 cells · doubt 0.000" in page.write().read_text(encoding="utf-8")


def test_axes_of_histograms_have_round_numbers():
    values = np.linspace(0.83, 0.97, 50)  # of 0 .. 1
    assert bars(values, most=1.0)["ticks"] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    drawn = bars(1903 + 1000 * values, from_zero=False)
    assert drawn["low"] == pytest.approx(2733)
    assert drawn["low"] < drawn["ticks"][0] < drawn["ticks"][-1] <= drawn["top"]
    assert all(tick % 10 == 0 for tick in drawn["ticks"])


@pytest.mark.parametrize("value", [-5, 0, 1, 255, 65535, 1e9])
def test_cells_of_one_gray_value_have_a_histogram(value):
    drawn = bars(np.full(5, value, np.float32), from_zero=False)
    assert drawn["low"] == value < drawn["top"]
    assert drawn["heights"][0] == 1


@pytest.mark.parametrize("size", [(700, 1), (1, 700), (5000, 1), (5000, 2)])
def test_thin_images_are_shown(size, tmp_path):
    cells = np.ones(size, np.int32)
    page = ResultPage(tmp_path)
    page.add("a", Segmented(Path("a"), {}, np.zeros((1, *size)), np.ones((1, *size)), cells), {})
    assert "1 cell" in page.write().read_text(encoding="utf-8")
    assert overlay(cells.T, cells.T).size


def test_a_table_of_an_earlier_run_is_not_linked(tmp_path):
    (tmp_path / "my results").mkdir()
    (tmp_path / "my results" / "cells.csv").write_text("file\n")
    assert "cells.csv" not in page_of(results(tmp_path, {"a.tif": 0.9}, tables=False))


def test_a_page_is_written_when_the_engine_is_done_unless_switched_off(tmp_path, caplog):
    for page in (True, "false"):
        folder = tmp_path / str(page)
        engine = Engine(lambda *_: None)
        WritePage(SegmentationWriter(folder, page=page)).attach(engine)
        with caplog.at_level("INFO"):
            engine.run([0])
        assert (folder / "index.html").is_file() == (page is True)
    assert caplog.text.count(f"0 images, 0 cells: open {tmp_path / 'True' / 'index.html'}") == 1
    WritePage(object()).attach(engine)


def test_tables_of_images_and_of_the_run(tmp_path):
    results(tmp_path, {"a.tif": 0.9, "b.tif": 0.8})
    one = table(tmp_path / "my results" / "b_cells.csv")
    run = table(tmp_path / "my results" / "cells.csv")
    assert [row["instance"] for row in run] == ["1", "2", "1", "2"]
    assert [row["file"].rpartition("/")[2] for row in run] == ["a.tif", "a.tif", "b.tif", "b.tif"]
    assert {name: run[3][name] for name in one[1]} == one[1]
    # gray values of the file, not of what the network saw; µm from its tags
    assert (one[0]["mean_gray"], one[1]["mean_gray"], one[1]["std_gray"]) == ("90", "130", "0")
    assert (one[1]["area_px"], one[1]["area_um2"], one[1]["mean_probability"]) == ("225", "56.25", "0.8")


def test_switched_off_there_is_no_table(tmp_path):
    results(tmp_path, {"a.tif": 0.9}, tables=False, page="false", overlays=False)
    assert {path.name for path in (tmp_path / "my results").iterdir()} == {
        "a_cells.tif",
        "a_probability.tif",
        "summary.csv",
    }


#: what a person does, one after the other, and what is seen then
ACTS = """
<style>.gallery figure { content-visibility: visible !important; }  /* sizes are known before they are drawn */</style>
<script>
window.seen = {errors: []};
window.onerror = message => { seen.errors.push(message); };
addEventListener("load", () => {
  const all = query => [...document.querySelectorAll(query)];
  const shown = query => all(query).filter(one => getComputedStyle(one).visibility === "visible").length;
  const names = () => all(".gallery figure").filter(one => !one.hidden)
    .sort((a, b) => (a.style.order || 0) - (b.style.order || 0)).map(one => one.dataset.name);
  const press = (key, where = document.body) => where.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
  const put = (id, value, event) => {
    document.getElementById(id).value = value;
    document.getElementById(id).dispatchEvent(new Event(event));
  };
  seen.loaded = all("img").every(one => one.complete && one.naturalWidth > 0);
  seen.wide = document.documentElement.scrollWidth > innerWidth;
  seen.columns = new Set(all(".gallery figure").map(one => one.offsetLeft)).size;
  seen.cells = [shown(".outlines"), shown(".view .probability")];
  press("2");
  seen.image = [shown(".outlines"), shown(".view .probability")];
  document.querySelector("label[for=probability]").click();
  seen.probability = [shown(".outlines"), shown(".view .probability")];
  const view = document.querySelector(".view"), width = () => view.getBoundingClientRect().width, before = width();
  view.click();
  const page = document.documentElement;
  const fits = () => view.getBoundingClientRect().height <= innerHeight && page.scrollWidth <= innerWidth;
  seen.enlarged = Boolean(view.closest(".large")) && fits();
  seen.grown = width() / before;
  press("Enter", view);
  seen.back = !view.closest(".large") && fits();
  seen.order = [names()];
  put("order", "number", "change");
  seen.order.push(names());
  put("find", "MID", "input");
  seen.order.push(names());
  document.body.innerHTML = "<pre>" + JSON.stringify(seen) + "</pre>";
});
</script>
"""


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is missing")
@pytest.mark.parametrize(("size", "columns"), [("1400,1000", 3), ("500,900", 1)])
def test_in_a_browser_of_a_desktop_and_a_phone(tmp_path, size, columns):
    page = results(tmp_path, {"sure.tif": 0.99, "middle.tif": 0.8, "unsure.tif": 0.6}).page.write()
    page.write_text(page.read_text(encoding="utf-8").replace("<body>", "<body>" + ACTS), encoding="utf-8")
    words = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    words += [f"--user-data-dir={tmp_path / 'browser'}", f"--window-size={size}", "--virtual-time-budget=5000"]
    dom = subprocess.run([*words, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=300).stdout
    seen = json.loads(re.search(r"<pre>(.*)</pre>", dom)[1])
    grown = seen.pop("grown")
    assert columns == 1 or grown > 1.2  # on a phone a picture has the width of the page already
    assert seen == {
        "errors": [],
        "loaded": True,
        "wide": False,
        "columns": columns,
        "cells": [3, 0],
        "image": [0, 0],
        "probability": [3, 3],
        "enlarged": True,
        "back": True,
        "order": [["unsure", "middle", "sure"], ["sure", "middle", "unsure"], ["middle"]],
    }

"""The page at /: what it shows, and that it needs nothing from elsewhere."""

from __future__ import annotations

import re

import numpy as np
import pytest
import tifffile

from tests.label.conftest import prepare


@pytest.fixture(scope="module")
def server(tmp_path_factory, run_server):
    """Three images; the name of one is written in HTML."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "studies").mkdir()
    for name in ("a", "b2", "<b>10 & more"):
        tifffile.imwrite(folder / "studies" / f"{name}.tif", np.arange(70 * 64, dtype=np.uint16).reshape(70, 64))
    prepare(folder / "app")
    return run_server(folder / "app", folder / "studies")


def test_the_page_shows_the_images_and_how_to_go_on(server, tmp_path):
    label = np.zeros((70, 64), np.uint8)
    label[5:20, 5:20], label[30:40, 30:40], label[-1] = 1, 1, 9
    tifffile.imwrite(tmp_path / "label.tif", label)
    assert server.upload("a", tmp_path / "label.tif", not_annotated=9).status_code == 200
    answer = server.get("/")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    page = answer.text
    assert "3 images" in page
    assert "1 with a label" in page
    assert "2 cells, 64 px not annotated" in page
    assert "<b>" not in page
    assert f"{server.url}/infer/cells?image=%3Cb%3E10" in page  # the first without a label
    assert page.index("b2") < page.index("2 cells")  # what is to do comes first


def test_it_needs_nothing_from_elsewhere_and_its_links_lead_somewhere(server):
    page = server.get("/").text
    assert not re.findall(r"<script|<img|@import|url\(", page)
    links = re.findall(r'href="(/[^"]*)"', page)
    assert len(links) > 5
    for link in links:
        expected = 404 if link == "/train/" else 200  # nothing was trained
        assert server.get(link.replace("&amp;", "&")).status_code == expected, link
    assert "swagger" in server.get("/requests").text

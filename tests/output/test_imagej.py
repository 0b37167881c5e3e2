"""The real ImageJ opens our sets of ROIs and fills what we mean, and we read what it draws as it fills it.

Needs ImageJ and a virtual screen for its ROI Manager: ``apt-get install imagej xvfb xauth``.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy.ndimage import gaussian_filter, label

from bundle.data.regions.imagej import read_rois
from bundle.data.regions.raster import rasterised
from bundle.output.regions import write_regions
from tests.conftest import table

JAR = Path("/usr/share/java/ij.jar")
NEEDED = ("java", "xvfb-run", "xauth")
MISSING = [name for name in NEEDED if shutil.which(name) is None] + ([] if JAR.is_file() else [str(JAR)])

pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"{', '.join(MISSING)} missing: apt-get install imagej xvfb xauth"
)

#: fills every ROI of a set with its number, and measures it
FILL = """
setBatchMode(true);
dir = getArgument();
open(dir + "image.tif");
width = getWidth(); height = getHeight(); slices = nSlices;
roiManager("open", dir + "a_rois.zip");
newImage("mask", "16-bit black", width, height, slices);
areas = "name,cell,class,area,mean\\n";
for (i = 0; i < roiManager("count"); i++) {
  selectWindow("image.tif");
  roiManager("select", i);
  getStatistics(area, mean);
  cell = Roi.getProperty("cell");
  areas = areas + Roi.getName + "," + cell + "," + Roi.getProperty("class") + "," + area + "," + mean + "\\n";
  selectWindow("mask");
  roiManager("select", i);
  run("Set...", "value=" + cell + " slice");
}
run("Select None");
saveAs("tiff", dir + "mask.tif");
File.saveString(areas, dir + "areas.csv");
run("Quit");
"""

#: draws selections of each kind that has an area, and fills each on a page of its own
DRAW = """
setBatchMode(true);
dir = getArgument();
newImage("image", "8-bit black", 60, 50, 1);
function keep(name) { Roi.setName(name); roiManager("add"); }
makeRectangle(3, 4, 10, 7); keep("rectangle");
makeOval(2, 3, 17, 11); keep("oval");
makeOval(5, 5, 1, 1); keep("dot");
makeOval(5, 5, 20, 30); keep("even oval");
makePolygon(5, 5, 30, 8, 22, 33, 9, 21); keep("polygon");
makeSelection("freehand", newArray(5, 20, 31, 28, 12, 6), newArray(6, 4, 15, 32, 40, 20)); keep("freehand");
makeSelection("freehand", newArray(5, 25, 25, 5), newArray(6, 26, 6, 26)); keep("eight");
makeEllipse(10, 10, 40, 35, 0.5); keep("ellipse");
makeRotatedRectangle(10, 10, 40, 35, 12); keep("rotated");
makeRectangle(-5, 20, 20, 60); keep("beyond the edge");
makeOval(10, 10, 30, 30); setKeyDown("alt"); makeRectangle(15, 15, 8, 9); keep("with hole");
setKeyDown("none");
makePolygon(5, 5, 25, 5, 25, 15, 5, 15); setKeyDown("shift"); makeOval(35, 20, 14, 14); keep("two parts");
setKeyDown("none");
count = roiManager("count");
newImage("mask", "8-bit black", 60, 50, count);
for (i = 0; i < count; i++) {
  roiManager("select", i);
  setSlice(i + 1);
  run("Set...", "value=1 slice");
}
run("Select None");
saveAs("tiff", dir + "mask.tif");
roiManager("deselect");
roiManager("save", dir + "drawn.zip");
run("Quit");
"""


def imagej(macro: str, folder: Path) -> None:
    (folder / "macro.ijm").write_text(macro)
    java = ["java", "-Xmx1g", f"-Duser.home={folder}", "-jar", str(JAR), "-ijpath", str(folder)]
    words = [*java, "-batch", str(folder / "macro.ijm"), f"{folder}/"]
    done = subprocess.run(["xvfb-run", "-a", *words], capture_output=True, text=True, timeout=300)
    assert (folder / "mask.tif").is_file(), done.stdout + done.stderr


def cells_of(random: np.random.RandomState) -> np.ndarray:
    """Blobs, cells of one pixel, one in the hole of another, and noise: holes and parts that touch at corners."""
    cells, count = label(gaussian_filter(random.rand(120, 150), 3) > 0.5)
    noise = random.randint(0, 5, (40, 50))
    cells[40:80, 60:110] = np.where(noise > 0, noise + count, 0)
    cells[5, 5] = count + 5
    cells[110:113, 100:103] = count + 6
    cells[111, 101] = count + 7
    return cells


@pytest.mark.parametrize("slices", [1, 3])
def test_imagej_fills_our_regions_as_we_mean_them(tmp_path, slices):
    random = np.random.RandomState(0)
    cells = np.stack([cells_of(random) for _ in range(slices)])
    image = random.randint(0, 255, cells.shape).astype(np.uint8)
    tifffile.imwrite(tmp_path / "image.tif", image, photometric="minisblack", imagej=True)
    class_of = np.arange(cells.max() + 1) % 2 + 1
    shown = cells.T if slices > 1 else cells[0].T
    write_regions(tmp_path / "a", shown, ["rois"], ["ground", "odd kind", "rod"], class_of)
    imagej(FILL, tmp_path)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "mask.tif").reshape(cells.shape), cells)
    rows = table(tmp_path / "areas.csv")
    there = [np.unique(page[page > 0]) for page in cells]
    assert len(rows) == sum(map(len, there))
    for row in rows:
        page = int(row["name"].partition("-z")[2] or 1) - 1
        inside = cells[page] == int(row["cell"])
        assert float(row["area"]) == inside.sum()
        assert float(row["mean"]) == pytest.approx(image[page][inside].mean(), abs=1e-3)
        assert row["class"] == ["odd kind", "rod"][int(row["cell"]) % 2]


def test_we_read_what_imagej_draws_as_it_fills_it(tmp_path):
    imagej(DRAW, tmp_path)
    pages = tifffile.imread(tmp_path / "mask.tif")
    regions = read_rois(tmp_path / "drawn.zip")
    assert len(regions) == len(pages) == 12
    for region, page in zip(regions, pages, strict=True):
        np.testing.assert_array_equal(rasterised([region], [1], page.shape, "drawn.zip"), page, err_msg=region.name)

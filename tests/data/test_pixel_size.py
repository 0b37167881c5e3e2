"""The size of a pixel survives: from TIFFs as OME, ImageJ and other programs write them, through the results."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from bundle.data.pixel_size import PixelSize, pixel_size
from bundle.data.readers import read_image
from bundle.output.formats import write_image

STACK = np.arange(3 * 24 * 30, dtype=np.uint16).reshape(3, 24, 30)
UM = {"PhysicalSizeX": 0.325, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.65, "PhysicalSizeYUnit": "µm"}


def ome(path, unit=1.0, **more):
    metadata = {"axes": "ZYX", **UM, "PhysicalSizeZ": 2.0, **more}
    tifffile.imwrite(path, STACK, ome=True, metadata=metadata)


def imagej(path, unit="micron", per_unit=(1 / 0.325, 1 / 0.65)):
    tifffile.imwrite(
        path, STACK, imagej=True, resolution=per_unit, metadata={"axes": "ZYX", "unit": unit, "spacing": 2.0}
    )


@pytest.mark.parametrize("unit", ["micron", "um", "\\u00B5m"])
def test_imagej(tmp_path, unit):
    imagej(tmp_path / "a.tif", unit)
    assert pixel_size(tmp_path / "a.tif") == pytest.approx(PixelSize(0.325, 0.65, 2.0))


def test_imagej_in_nanometres_and_in_pixels(tmp_path):
    imagej(tmp_path / "nm.tif", "nm", (1 / 4, 1 / 4))
    assert pixel_size(tmp_path / "nm.tif")[:2] == pytest.approx((0.004, 0.004))
    imagej(tmp_path / "px.tif", "pixel", (1, 1))
    assert pixel_size(tmp_path / "px.tif") is None


def test_inches_of_imagej_are_dots_of_a_picture_and_no_calibration(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK, imagej=True, resolution=(72, 72), metadata={"unit": "inch"})
    size = pixel_size(tmp_path / "a.tif")
    assert size is None or not size.calibrated


def test_ome(tmp_path):
    ome(tmp_path / "a.ome.tif")
    assert pixel_size(tmp_path / "a.ome.tif") == pytest.approx(PixelSize(0.325, 0.65, 2.0))
    ome(tmp_path / "b.tif", PhysicalSizeX=325.0, PhysicalSizeXUnit="nm")
    assert pixel_size(tmp_path / "b.tif").x == pytest.approx(0.325)


def test_tags_alone_are_kept_and_are_no_calibration(tmp_path):
    tifffile.imwrite(tmp_path / "dpi.tif", STACK[0], resolution=(72, 72), resolutionunit="INCH")
    size = pixel_size(tmp_path / "dpi.tif")
    assert size[:2] == pytest.approx((25400 / 72, 25400 / 72))
    assert not size.calibrated


@pytest.mark.parametrize("write", [ome, imagej])
def test_results_have_the_size_and_the_reader_gives_it_in_mm(tmp_path, write):
    source = tmp_path / "in.tif"
    write(source)
    image = read_image(str(source), np.float32)
    np.testing.assert_allclose(np.abs(np.diag(image.affine)[:3]), [0.325e-3, 0.65e-3, 2e-3])
    for dtype in (np.float32, np.uint16, np.uint32):
        target = tmp_path / f"out_{np.dtype(dtype)}.tif"
        write_image(target, np.asarray(image[0]).astype(dtype), source, image.meta)
        assert pixel_size(target) == pytest.approx(PixelSize(0.325, 0.65, 2.0))
        with tifffile.TiffFile(target) as file:  # for programs that read tags only
            tags = file.pages.first.tags
            assert tags["ResolutionUnit"].value == 3
            assert tags["XResolution"].value[0] / tags["XResolution"].value[1] == pytest.approx(1e4 / 0.325)
        np.testing.assert_array_equal(tifffile.imread(target), STACK.astype(dtype))


def test_without_a_size_the_result_claims_none(tmp_path):
    source = tmp_path / "in.tif"
    tifffile.imwrite(source, STACK)
    image = read_image(str(source), np.float32)
    write_image(tmp_path / "out.tif", np.asarray(image[0]), source, image.meta)
    assert pixel_size(tmp_path / "out.tif") is None


@pytest.mark.parametrize("bad", ["0", "-1", "nan", "wide"])
def test_a_senseless_size_is_none(tmp_path, bad):
    xml = tifffile.OmeXml()
    xml.addimage("uint16", (24, 30), (1, 1, 1, 24, 30, 1), axes="YX")
    text = xml.tostring().replace("<Pixels ", f'<Pixels PhysicalSizeX="{bad}" PhysicalSizeY="{bad}" ')
    tifffile.imwrite(tmp_path / "a.ome.tif", STACK[0], description=text.encode(), metadata=None)
    assert pixel_size(tmp_path / "a.ome.tif") is None

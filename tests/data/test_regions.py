"""Label maps become regions and the same label maps again; regions that mean none are named."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import shapely
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from roifile import ROI_OPTIONS, ROI_SUBTYPE, ROI_TYPE, ImagejRoi

from bundle.data.classes import Classes
from bundle.data.errors import ImageError, UnreadableImageError
from bundle.data.folder import datalist
from bundle.data.loading import LoadSliced
from bundle.data.regions import Region, rasterised, read_regions, traced
from bundle.data.regions.geojson import write_geojson
from bundle.data.regions.imagej import read_rois, write_rois
from bundle.data.regions.raster import instance_values
from bundle.data.truth import LoadTruthd
from bundle.output.regions import regions_of, require_exports, write_regions
from tests.reference.regions import drawn

LABELS = st.integers(1, 9).flatmap(
    lambda high: st.integers(1, 9).flatmap(
        lambda wide: arrays(np.int32, (high, wide), elements=st.sampled_from([0, 0, 1, 1, 2, 70000]))
    )
)
HOLES = np.array([[1, 1, 1, 1, 0, 5], [1, 0, 1, 1, 0, 0], [1, 1, 0, 1, 5, 0], [0, 1, 1, 2, 0, 3], [3, 0, 0, 1, 1, 0]])


def back(regions, size, path="set"):
    return rasterised(regions, instance_values(regions), size, path)


@settings(max_examples=150, deadline=None)
@given(LABELS)
def test_outlines_are_valid_and_mean_the_same_labels(labels):
    regions = [Region(str(cell), polygons, cell=cell) for cell, polygons in traced(labels).items()]
    np.testing.assert_array_equal(back(regions, labels.shape), labels)
    np.testing.assert_array_equal(drawn(regions, labels.shape), labels)
    for region in regions:
        shapes = shapely.MultiPolygon([(polygon[0], list(polygon[1:])) for polygon in region.polygons])
        assert shapely.is_valid(shapes), shapely.is_valid_reason(shapes)
        assert shapes.area == (labels == region.cell).sum()
        # the outline clockwise as seen, y downwards; holes the other way
        assert all(shapely.LinearRing(polygon[0]).is_ccw for polygon in region.polygons)
        assert not any(shapely.LinearRing(ring).is_ccw for polygon in region.polygons for ring in polygon[1:])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(3, 7))
def test_polygons_of_any_corners_are_filled_as_the_reference_fills_them(seed, corners):
    random = np.random.RandomState(seed)
    points = random.uniform(0, 10, (corners, 2))
    angle = np.arctan2(*(points - points.mean(axis=0)).T)
    region = Region("a", [[points[np.argsort(angle)]]], cell=1)
    expected = drawn([region], (11, 10))
    if expected.any():
        np.testing.assert_array_equal(back([region], (11, 10)), expected)


@pytest.mark.parametrize("stack", [False, True])
def test_files_mean_the_same_labels(tmp_path, stack):
    cells = np.stack([HOLES, np.roll(HOLES, 2, axis=0)], axis=-1) if stack else HOLES
    class_of = np.array([0, 1, 2, 1, 0, 2])
    written = write_regions(tmp_path / "a", cells, ["rois", "geojson"], ["ground", "round", "rod"], class_of)
    assert {path.name for path in tmp_path.iterdir()} == {"a_rois.zip", "a_cells.geojson"}
    for path in written.values():
        regions = read_regions(path)
        assert {region.kind for region in regions if region.cell in (2, 5)} == {"rod"}
        np.testing.assert_array_equal(back(list(regions), cells.T.shape), cells.T)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_files_of_any_labels(tmp_path_factory, data):
    cells = data.draw(arrays(np.int32, (6, 5, 3), elements=st.sampled_from([0, 1, 1, 2, 3])))
    folder = tmp_path_factory.mktemp("regions")
    for path in write_regions(folder / "a", cells, ["rois", "geojson"]).values():
        np.testing.assert_array_equal(back(list(read_regions(path)), cells.T.shape), cells.T)


def test_colours_of_neighbours_differ_and_those_of_classes_are_theirs(tmp_path):
    regions = regions_of(HOLES)
    assert len({region.colour for region in regions}) == len(regions) == 4
    write_rois(tmp_path / "a.zip", regions)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        rois = [ImagejRoi.frombytes(archive.read(name)) for name in archive.namelist()]
    assert [tuple(roi.stroke_color[1:]) for roi in rois] == [region.colour for region in regions]
    assert [roi.name for roi in rois] == ["0001", "0002", "0003", "0005"]
    write_geojson(tmp_path / "a.geojson", regions_of(HOLES, ["ground", "cell"], np.array([0, 1, 1, 1, 1, 1])))
    features = json.loads((tmp_path / "a.geojson").read_text())["features"]
    assert {feature["properties"]["classification"]["name"] for feature in features} == {"cell"}
    assert len({tuple(feature["properties"]["classification"]["color"]) for feature in features}) == 1
    for feature in features:
        assert shapely.is_valid(shapely.from_geojson(json.dumps(feature["geometry"])))


def test_no_cells_are_files_without_regions(tmp_path):
    for path in write_regions(tmp_path / "a", np.zeros((4, 5), int), ["rois", "geojson"]).values():
        assert read_regions(path) == ()
        assert not back([], (5, 4)).any()


def test_exports_that_there_are():
    assert require_exports("rois, geojson") == require_exports(("rois", "geojson")) == ("rois", "geojson")
    assert require_exports(None) == require_exports("") == ()
    with pytest.raises(ValueError, match=r"export must be rois, geojson or both .* got 'roi': did you mean rois"):
        require_exports("roi")


def test_an_image_beyond_what_rois_can_say_is_refused(tmp_path):
    cells = np.zeros((60536, 1), np.uint8)
    with pytest.raises(ImageError, match="ROIs of ImageJ end at 60535 px, the image has 60536 x 1: export geojson"):
        write_regions(tmp_path / "a", cells, ["rois"])


def roi(name="mine", points=((1, 1), (4, 1), (4, 3), (1, 3)), kind=ROI_TYPE.POLYGON, **more):
    made = ImagejRoi.frompoints(np.array(points), name=name)
    made.roitype = kind
    for key, value in more.items():
        setattr(made, key, value)
    return made


def zipped(path, *rois):
    with zipfile.ZipFile(path, "w") as archive:
        for number, one in enumerate(rois):
            archive.writestr(f"{number}.roi", one if isinstance(one, bytes) else one.tobytes())
    return path


def box(left, top, right, bottom, **properties):
    ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": properties}


def label(folder, file, size=(6, 8), stack=None):
    """What a training reads of a file beside an image of so many rows and columns."""
    (folder / "image").mkdir(exist_ok=True)
    (folder / "label").mkdir(exist_ok=True)
    shape = size if stack is None else (stack, *size)
    pixels = np.arange(np.prod(shape)).reshape(shape).astype(np.uint8)
    tifffile.imwrite(folder / "image" / f"{file.stem}.tif", pixels, photometric="minisblack")
    file.rename(folder / "label" / file.name)
    load = LoadSliced(["image", "label"])
    return [load(dict(item))["label"][0].numpy().T for item in datalist(folder)]


def test_regions_are_labels_for_a_training(tmp_path):
    write_regions(tmp_path / "a", HOLES.T, ["rois"])
    (found,) = label(tmp_path, (tmp_path / "a_rois.zip").rename(tmp_path / "a.zip"), HOLES.shape)
    np.testing.assert_array_equal(found, HOLES)
    assert found.dtype == np.int32


def test_a_part_of_an_image_has_that_part_of_the_regions(tmp_path):
    write_regions(tmp_path / "a", HOLES.T, ["rois"])
    label(tmp_path, (tmp_path / "a_rois.zip").rename(tmp_path / "a.zip"), HOLES.shape)
    part = LoadSliced(["image", "label"], roi=(1, 2, 3, 2))(dict(datalist(tmp_path)[0]))
    np.testing.assert_array_equal(part["label"][0].numpy().T, HOLES[2:4, 1:4])
    assert part["label"].affine.tolist() == part["image"].affine.tolist()


def test_regions_of_a_stack_are_labels_of_its_slices(tmp_path):
    cells = np.stack([HOLES, np.roll(HOLES, 2, axis=0)])
    write_regions(tmp_path / "a", cells.T, ["geojson"])
    found = label(tmp_path, (tmp_path / "a_cells.geojson").rename(tmp_path / "a.geojson"), HOLES.shape, stack=2)
    np.testing.assert_array_equal(found, cells)
    volume = LoadSliced(["image", "label"], spatial_dims=3)(dict(datalist(tmp_path, slices=False)[0]))
    np.testing.assert_array_equal(volume["label"][0].numpy().T, cells)
    assert volume["label"].affine.tolist() == volume["image"].affine.tolist()
    part = LoadSliced(["image", "label"], spatial_dims=3)({**datalist(tmp_path, slices=False)[0], "slices": (1, 2)})
    np.testing.assert_array_equal(part["label"][0].numpy().T, cells[1:])


def test_regions_that_people_draw(tmp_path):
    """Rectangles, ovals, parts beyond the edge, a figure of eight, decimals; numbers follow those that are given."""
    oval = ImagejRoi(roitype=ROI_TYPE.OVAL, version=228, left=0, top=3, right=4, bottom=6, name="oval")
    rect = ImagejRoi(
        roitype=ROI_TYPE.RECT, version=228, left=6, top=-3, right=12, bottom=2, name="rect", props="cell: 7\n"
    )
    eight = roi("eight", [(4, 3), (6, 5), (4, 5), (6, 3)])
    (found,) = label(tmp_path, zipped(tmp_path / "a.zip", oval, rect, eight))
    expected = np.zeros((6, 8), int)
    expected[3:6, 0:4] = [[0, 8, 8, 0], [8, 8, 8, 8], [0, 8, 8, 0]]
    expected[0:2, 6:8] = 7
    expected[3:5, 5] = 9  # a centre on the edge is in the region to the left of it, as in ImageJ
    np.testing.assert_array_equal(found, expected)


def test_qupath_leaves_out_the_plane_of_the_first_slice(tmp_path):
    first, second = box(0, 0, 2, 2, objectType="annotation"), box(3, 0, 5, 2, objectType="annotation")
    second["geometry"]["plane"] = {"c": -1, "z": 1, "t": 0}
    (tmp_path / "a.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [first, second]}))
    found = label(tmp_path, tmp_path / "a.geojson", stack=2)
    assert [plane[0].tolist() for plane in found] == [[1, 1, 0, 0, 0, 0, 0, 0], [0, 0, 0, 2, 2, 0, 0, 0]]


def test_the_largest_number_has_a_class(tmp_path, little_memory):
    feature = box(0, 0, 2, 2, classification={"name": "rod"}, measurements={"cell": 2**31 - 1})
    (tmp_path / "a.geojson").write_text(json.dumps(feature))
    label(tmp_path, tmp_path / "a.geojson")
    pixels = LoadTruthd(["image", "label"], classes=Classes(("ground", "rod"), "classes"))(datalist(tmp_path)[0])
    assert pixels["label"][0].numpy().T[0].tolist() == [1, 1, 0, 0, 0, 0, 0, 0]


def test_classes_of_regions(tmp_path):
    features = [
        box(0, 0, 2, 2, classification={"name": "Rod"}),
        box(3, 0, 5, 2, classification={"names": ["round"]}),
        box(6, 0, 8, 6, classification={"name": "Not_annotated"}),
    ]
    (tmp_path / "a.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    (found,) = label(tmp_path, tmp_path / "a.geojson")
    assert found[0].tolist() == [1, 1, 0, 2, 2, 0, -1, -1]
    names = ("ground", "round", "rod")
    (item,) = datalist(tmp_path)
    pixels = LoadTruthd(["image", "label"], classes=Classes(names, "classes"))(dict(item))
    assert pixels["label"][0].numpy().T[0].tolist() == [2, 2, 0, 1, 1, 0, -1, -1]
    both = LoadTruthd(["image", "label"], classes=Classes(names, "instances+classes"))(dict(item))
    assert both["class_table"] == {1: 2, 2: 1}
    with pytest.raises(ImageError, match=r"a.geojson: region 1: there is no class 'Rod': did you mean"):
        LoadTruthd(["image", "label"], classes=Classes(("ground", "round", "rods"), "classes"))(dict(item))


CROSSED = [(1, 1), (7, 1), (7, 5), (1, 5), (1, 2), (5, 2), (5, 4), (2, 4), (2, 0), (1, 0)]
DECIMALS = {"version": 228, "options": ROI_OPTIONS.SUB_PIXEL_RESOLUTION}
POINT = '{"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}, "properties": {"name": "p"}}'


@pytest.mark.parametrize(
    ("rois", "message"),
    [
        ([roi(), roi("other", [(3, 2), (6, 2), (6, 4), (3, 4)])], "regions 'mine' and 'other' share 1 px: a pixel"),
        ([roi(points=[(9, 1), (12, 1), (12, 3)])], "'mine' lies outside its image, which has 8 x 6 px"),
        ([roi(points=[(1, 1), (1, 1), (1, 1)])], "'mine' (lies outside its image|holds the centre of no pixel)"),
        ([roi(points=CROSSED)], "'mine' crosses itself, so that \\d+ px are"),
        ([roi(kind=ROI_TYPE.POLYLINE)], "'mine' is a polyline, which has no area"),
        ([roi(kind=ROI_TYPE.POINT)], "'mine' is a point, which has no area"),
        ([roi(kind=ROI_TYPE.RECT, rounded_rect_arc_size=4)], "'mine' is a rounded rectangle, which has no area"),
        ([roi(kind=ROI_TYPE.RECT, subtype=ROI_SUBTYPE.TEXT)], "'mine' is a text, which has no area"),
        ([roi(options=ROI_OPTIONS.SPLINE_FIT)], "'mine' is a spline: make it a polygon"),
        ([roi(position=3)], "'mine' lies in slice 2, its image has but one"),
        ([roi(z_position=2, t_position=2)], "'mine' has a depth and a time .z 2, t 2."),
        ([roi(props="cell: 4"), roi("copy", props="cell: 4")], "'mine' and 'copy' have the same number, 4, perhaps"),
        ([b"Iout" + bytes(20)], "the ROI '0' is damaged"),
        ([roi(**DECIMALS, subpixel_coordinates=np.array([(1, 1), (np.nan, 2), (3, 3), (1, 3)]))], "'mine' is damaged"),
        ([roi(kind=ROI_TYPE.OVAL, **DECIMALS, xd=np.nan, yd=1, widthd=3, heightd=3)], "'mine' has no area"),
    ],
)  # fmt: skip
def test_regions_that_are_no_cells_are_named(tmp_path, rois, message):
    with pytest.raises(ImageError, match=message) as told:
        label(tmp_path, zipped(tmp_path / "a.zip", *rois))
    assert str(told.value).startswith(f"{tmp_path / 'label' / 'a.zip'}: the ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "it cannot be read"),
        ('{"features": 3}', "it is no GeoJSON"),
        (POINT, "region 'p' is a Point, which has no area"),
        ('[{"geometry": {"type": "Polygon", "coordinates": [[1, 2]]}}]', "'feature 1' is damaged: its coordinates"),
        ('[{"geometry": {"type": "Polygon", "coordinates": []}}]', "region 'feature 1' has no area"),
        ('[{"geometry": {"type": "Polygon", "coordinates": [[[1, 1], [NaN, 2], [3, 3]]]}}]', "damaged: a corner"),
    ],
)  # fmt: skip
def test_geojson_that_is_none_is_named(tmp_path, content, message):
    (tmp_path / "a.geojson").write_text(content)
    with pytest.raises(ImageError, match=message):
        label(tmp_path, tmp_path / "a.geojson")


def test_a_stack_needs_to_know_the_slice(tmp_path):
    with pytest.raises(ImageError, match=r"the region 'mine' lies in no slice of the stack: give it a position"):
        label(tmp_path, zipped(tmp_path / "a.zip", roi()), stack=3)
    with pytest.raises(ImageError, match=r"the region 'mine' lies in slice 3, its image has 0 to 2"):
        label(tmp_path, zipped(tmp_path / "a.zip", roi(position=4)), stack=3)


def test_what_is_no_set_of_rois(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 damaged")
    with pytest.raises(UnreadableImageError, match="it cannot be read"):
        read_rois(tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("picture.png", b"")
    with pytest.raises(UnreadableImageError, match=r"it holds no file \.roi"):
        read_rois(tmp_path / "b.zip")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_entries_of_one_name_are_two_regions(tmp_path):
    """As ImageJ reads them; the first one was lost."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for left in (0, 4):
            archive.writestr("cell.roi", roi("cell", [(left, 0), (left + 2, 0), (left + 2, 2), (left, 2)]).tobytes())
    (found,) = label(tmp_path, tmp_path / "a.zip")
    np.testing.assert_array_equal(found[:2], [[1, 1, 0, 0, 2, 2, 0, 0]] * 2)


def test_a_roi_that_may_not_be_read(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "a.roi").write_bytes(roi().tobytes())
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(UnreadableImageError, match=r"a\.roi: it cannot be read .*Permission denied"):
        read_rois(tmp_path / "a.roi")


def test_two_labels_of_one_name_are_refused(tmp_path):
    zipped(tmp_path / "a.zip", roi())
    label(tmp_path, tmp_path / "a.zip")
    tifffile.imwrite(tmp_path / "label" / "a.tif", np.zeros((6, 8), np.uint8))
    with pytest.raises(ValueError, match=r"two files of one name, a\.tif and a.zip"):
        datalist(tmp_path)

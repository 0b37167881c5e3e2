"""Sizes against the tables of the paper and of the network itself; tile plans against their definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.geometry import PaddedGeometry, ValidGeometry, mirror_indices

# depth: smallest input -> output, step, margin (worked out by hand from two valid 3x3 convolutions a level)
TABLE = {1: (18, 2, 2, 8), 2: (44, 4, 4, 20), 3: (92, 4, 8, 44), 4: (188, 4, 16, 92), 5: (380, 4, 32, 188)}


def literal_output(n: int, depth: int) -> int | None:
    """Walk through the layers one by one; None where a pooling would lose a row or nothing is left."""
    sizes = []
    for _ in range(depth):
        n -= 4
        if n <= 0 or n % 2:
            return None
        sizes.append(n)
        n //= 2
    n -= 4
    for skip in reversed(sizes):
        n *= 2
        if n <= 0 or (skip - n) % 2:
            return None
        n -= 4
    return n if n > 0 else None


@pytest.mark.parametrize("depth", TABLE)
def test_table(depth):
    geometry = ValidGeometry(depth)
    smallest, output, step, margin = TABLE[depth]
    assert (geometry.smallest_input, geometry.step, geometry.margin) == (smallest, step, margin)
    assert geometry.output_size(smallest) == output


@pytest.mark.parametrize(
    ("n", "output"),
    [(508, 324), (524, 340), (540, 356), (556, 372), (572, 388), (588, 404), (604, 420), (620, 436), (636, 452)],
)
def test_sizes_around_the_paper(n, output):
    assert ValidGeometry(4).output_size(n) == output


def test_512_in_one_pass():
    assert ValidGeometry(4).input_size(512) == 700


@pytest.mark.parametrize("depth", TABLE)
def test_every_size_against_a_walk_through_the_layers(depth):
    geometry = ValidGeometry(depth)
    for n in range(1, 900):
        expected = literal_output(n, depth)
        assert geometry.is_valid(n) == (expected is not None), n
        if expected is not None:
            assert geometry.output_size(n) == expected


@pytest.mark.parametrize("depth", TABLE)
def test_input_size_is_the_smallest_that_covers(depth):
    geometry = ValidGeometry(depth)
    for n in range(1, 300):
        size = geometry.input_size(n)
        assert geometry.output_size(size) >= n
        assert not geometry.is_valid(size - geometry.step) or geometry.output_size(size - geometry.step) < n


def test_invalid_sizes_name_the_nearest_valid():
    geometry = ValidGeometry(4)
    with pytest.raises(ValueError, match=r"570 px is not valid at depth 4.*nearest are 556 and 572"):
        geometry.output_size(570)
    with pytest.raises(ValueError, match=r"100 px.*nearest are 188 and 204"):
        geometry.output_size(100)
    assert geometry.nearest_valid(572) == (572, 572)


@pytest.mark.parametrize("depth", [0, -1, 2.0, True, "4"])
def test_depth_must_be_a_positive_integer(depth):
    with pytest.raises(ValueError, match="depth must be an integer of at least 1"):
        ValidGeometry(depth)


@given(depth=st.integers(1, 4), n=st.integers(1, 700), extra=st.integers(0, 12))
def test_tiles_cover_every_pixel_once_on_one_grid(depth, n, extra):
    geometry = ValidGeometry(depth)
    tile_size = geometry.input_size(geometry.step) + extra * geometry.step
    seen = np.zeros(n, dtype=int)
    for tile in geometry.plan((n,), tile_size):
        ((start, stop),) = tile.input
        ((out_start, out_stop),) = tile.output
        ((crop_start, crop_stop),) = tile.crop
        assert (start + geometry.margin) % geometry.step == 0, "off the pooling grid"
        assert stop - start == tile_size
        assert 0 <= crop_start < crop_stop <= geometry.output_size(tile_size)
        assert start + geometry.margin + crop_start == out_start
        assert crop_stop - crop_start == out_stop - out_start
        seen[out_start:out_stop] += 1
    assert (seen == 1).all()


@given(depth=st.integers(1, 4), n=st.integers(1, 600))
def test_tile_sizes_are_the_smallest_for_their_number_of_tiles(depth, n):
    geometry = ValidGeometry(depth)
    sizes = geometry.tile_sizes(n)
    assert sizes[0] <= geometry.input_size(n)
    assert geometry.tiles_along(n, sizes[0]) == 1
    counts = [geometry.tiles_along(n, size) for size in sizes]
    assert counts == sorted(set(counts))
    for size, count in zip(sizes, counts, strict=True):
        smaller = size - geometry.step
        assert not geometry.is_valid(smaller) or geometry.tiles_along(n, smaller) != count


def test_plan_of_an_image():
    plan = ValidGeometry(4).plan((512, 300), (444, 572))
    assert plan.counts == (2, 1)
    assert len(plan) == len(list(plan)) == 2
    assert [tile.output[0] for tile in plan] == [(0, 256), (256, 512)]


def test_a_tile_too_small_to_step_is_refused_with_the_smallest_that_can():
    with pytest.raises(
        ValueError, match=r"188 px gives an output of 4 px.*cannot cover 512 px.*smallest that can is 204"
    ):
        ValidGeometry(4).plan((512,), 188)
    assert len(ValidGeometry(4).plan((4,), 188)) == 1


@pytest.mark.parametrize(("image", "tile", "message"), [((0, 5), 572, "at least 1 px"), ((5, 5), (572,), "1 axes")])
def test_bad_plans(image, tile, message):
    with pytest.raises(ValueError, match=message):
        ValidGeometry(4).plan(image, tile)


@pytest.mark.parametrize("stride", [1, 2, 8, 16, 32])
def test_padded_sizes_are_multiples_of_the_stride_and_come_out_as_they_go_in(stride):
    geometry = PaddedGeometry(stride)
    assert (geometry.margin, geometry.step, geometry.smallest_input) == (0, stride, stride)
    for n in range(1, 200):
        above = next(size for size in range(n, n + stride) if size % stride == 0)
        below = above if above == n else above - stride
        assert geometry.is_valid(n) == (n % stride == 0)
        assert geometry.input_size(n) == above
        assert geometry.output_size(above) == above
        assert geometry.nearest_valid(n) == ((below, above) if below else (stride, 2 * stride))


def test_padded_sizes_name_the_nearest_valid():
    message = "380 px is not valid with same padding: valid sizes are multiples of 16; the nearest are 368 and 384"
    with pytest.raises(ValueError, match=f"^tile_size {message}"):
        PaddedGeometry(16).require_valid(380, name="tile_size")


@given(stride=st.integers(1, 40), image=st.tuples(st.integers(1, 300), st.integers(1, 300)))
def test_one_tile_holds_all_of_an_image_of_a_padded_network(stride, image):
    geometry = PaddedGeometry(stride)
    sizes = [geometry.tile_sizes(n) for n in image]
    assert sizes == [[geometry.input_size(n)] for n in image]
    (tile,) = geometry.plan(image, [size for (size,) in sizes])
    assert tile.input == tuple((0, size) for (size,) in sizes)
    assert tile.output == tile.crop == tuple((0, n) for n in image)


def test_a_padded_network_is_not_tiled():
    with pytest.raises(
        ValueError, match=r"tile_size 64 px is less than the image's 90 px.*seams.*smallest that can is 96"
    ):
        PaddedGeometry(16).plan((60, 90), 64)
    assert len(PaddedGeometry(16).plan((60, 90), (64, 112))) == 1
    assert not PaddedGeometry(16).seamless
    assert ValidGeometry(4).seamless


@pytest.mark.parametrize("stride", [0, -1, 2.0, True, "4"])
def test_stride_must_be_a_positive_integer(stride):
    with pytest.raises(ValueError, match="stride must be an integer of at least 1"):
        PaddedGeometry(stride)


@given(n=st.integers(1, 40), before=st.integers(0, 150), after=st.integers(0, 150))
def test_mirror_is_numpys_reflect(n, before, after):
    expected = np.pad(np.arange(n), (before, after), mode="reflect")
    assert mirror_indices(-before, n + after, n) == expected.tolist()


def test_mirror_of_nothing():
    with pytest.raises(ValueError, match="0 px"):
        mirror_indices(0, 3, 0)

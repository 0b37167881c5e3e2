"""Blocks of tiles: every pixel once, by the tiles of the whole image, and no chunk shared."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.geometry import AxesGeometry, BlockPlan, PaddedGeometry, ValidGeometry, WindowGeometry

geometries = st.sampled_from([ValidGeometry(1), ValidGeometry(3), WindowGeometry(5)])


@given(
    geometry=geometries,
    size=st.tuples(st.integers(1, 150), st.integers(1, 90)),
    extra=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    tiles=st.tuples(st.integers(1, 4), st.integers(1, 4)),
)
def test_blocks_have_the_tiles_of_the_image_and_cover_each_pixel_once(geometry, size, extra, tiles):
    step = geometry.step
    tile = tuple(geometry.input_size(step) + each * step for each in extra)
    plan = geometry.plan(size, tile)
    blocks = BlockPlan(plan, [n * s for n, s in zip(tiles, BlockPlan(plan).steps, strict=True)])
    seen = np.zeros(size, int)
    found = []
    each = [blocks[number] for number in range(len(blocks))]
    for block in each:
        tiles = list(plan.over(block.output))
        for (start, stop), n, whole in zip(block.output, blocks.sizes, size, strict=True):
            assert start % n == 0
            assert stop - start == n or stop == whole
        seen[tuple(slice(*span) for span in block.output)] += 1
        for axis, (start, stop) in enumerate(block.input):
            assert start == min(one.input[axis][0] for one in tiles)
            assert stop == max(one.input[axis][1] for one in tiles)
        for axis, (start, stop) in enumerate(block.output):
            assert start == min(one.output[axis][0] for one in tiles)
            assert stop == max(one.output[axis][1] for one in tiles)
        found += tiles
    assert (seen == 1).all()
    assert len(found) == len(plan)
    assert set(found) == set(plan)

    chunks = blocks.chunk_sizes
    blocks.require_own_chunks(chunks)
    owner: dict[tuple[int, ...], int] = {}
    for number, block in enumerate(each):
        along = [range(start // n, -(-stop // n)) for (start, stop), n in zip(block.output, chunks, strict=True)]
        for place in np.ndindex(*map(len, along)):
            chunk = tuple(each[i] for each, i in zip(along, place, strict=True))
            assert owner.setdefault(chunk, number) == number


def test_a_large_image_is_planned_at_once():
    plan = BlockPlan(ValidGeometry(4).plan((100_000, 100_000), 956))
    assert plan.sizes == (2304, 2304)
    assert plan.chunk_sizes == (768, 768)
    assert len(plan) == 44**2
    assert plan[len(plan) - 1].output == ((99072, 100_000), (99072, 100_000))
    volume = BlockPlan(ValidGeometry(2).plan((1000, 1000, 10**6), 84))
    assert len(volume) == volume.counts[0] ** 2 * volume.counts[2] > 10**5


def test_blocks_that_only_small_chunks_would_part_are_chunks():
    plan = BlockPlan(WindowGeometry(95).plan((9000, 9000), 1827))
    assert (plan.sizes, plan.chunk_sizes) == ((1733, 1733), (1733, 1733))
    half = BlockPlan(WindowGeometry(5).plan((9000, 9000), 1034 + 4), [2068, 2068])
    assert (half.sizes, half.chunk_sizes) == ((2068, 2068), (517, 517))


def test_a_network_that_is_not_tiled_has_one_block():
    plan = BlockPlan(PaddedGeometry(16).plan((70, 3000), (80, 3008)))
    assert len(plan) == 1
    assert plan.chunk_sizes == (70, 1024)


def test_sizes_that_do_not_fit_name_the_nearest():
    plan = ValidGeometry(4).plan((2000, 2000), 572)
    with pytest.raises(ValueError, match=r"multiple of 384 px, .* got 1000; the nearest is 1152"):
        BlockPlan(plan, 1000)
    with pytest.raises(ValueError, match="got 0; the nearest is 384"):
        BlockPlan(plan, 0)
    with pytest.raises(ValueError, match="got 'abc'; the nearest is 384"):
        BlockPlan(plan, "abc")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="has 3 axes"):
        BlockPlan(plan, (384, 384, 384))
    assert len(BlockPlan(plan, 2000)) == 1
    with pytest.raises(
        ValueError, match=r"blocks of 384 px share chunks of 256 px along axis 1.* nearest chunk is 192"
    ):
        BlockPlan(plan, 384).require_own_chunks((384, 256))
    with pytest.raises(IndexError, match="block 36 of 36"):
        BlockPlan(plan, 384)[36]


def test_axes_that_differ():
    geometry = AxesGeometry((ValidGeometry(2), ValidGeometry(2), ValidGeometry(2, flat_levels=2)))
    blocks = BlockPlan(geometry.plan((100, 90, 40), (68, 68, 13)))
    blocks_of = [blocks[number] for number in range(len(blocks))]
    assert sum(len(list(blocks.plan.over(block.output))) for block in blocks_of) == len(blocks.plan)

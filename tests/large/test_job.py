"""A job that is refused, interrupted, resumed or short of something."""

from __future__ import annotations

import errno
import os
import signal
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pydantic_zarr.v2
import pytest
import torch
import zarr
from filelock import FileLock
from ome_zarr_models.v04.image import Image as Image04
from ome_zarr_models.v04.image_label import ImageLabel as ImageLabel04
from ome_zarr_models.v04.labels import Labels as Labels04
from ome_zarr_models.v05.image import Image as Image05
from ome_zarr_models.v05.image_label import ImageLabel as ImageLabel05
from ome_zarr_models.v05.labels import Labels as Labels05

from bundle.cells import CellOptions
from bundle.geometry import BlockPlan, ValidGeometry
from bundle.inference.backends import Predictors
from bundle.inference.probability import require_stored_type
from bundle.large import forecast, image_in_blocks
from bundle.large import probability as probability_module
from bundle.model import TrainedNetwork, checkpoints
from bundle.networks import UNet
from tests.crash.io_faults import arm, read_record
from tests.data.test_stores import write_store
from tests.large.images import content, large, probability, write_network

for model in (Image04, ImageLabel04, Labels04):
    model.model_rebuild(_types_namespace=vars(pydantic_zarr.v2))  # what pydantic-zarr 0.9 leaves to others


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large")
    write_network(folder / "model.pt")
    pixels = np.random.default_rng(0).integers(0, 4000, (130, 100), np.uint16)
    write_store(folder / "slide.zarr", [pixels], "yx", chunks=(40, 40))
    segment(folder, folder / "whole")
    return folder


def segment(folder: Path, out: Path, **options) -> Path:
    large(folder / "slide.zarr", out, folder / "model.pt", **{"block_size": 44, **options}).run()
    return out / "slide_segmentation.ome.zarr"


def test_the_result_is_complete_and_valid(folder):
    store = folder / "whole" / "slide_segmentation.ome.zarr"
    assert sorted(path.name for path in (folder / "whole").iterdir()) == [
        "slide_segmentation.ome.zarr",
        "slide_segmentation_cells.csv",
        "summary.csv",
    ]
    group = zarr.open_group(store, mode="r")
    image = Image05.from_zarr(group)
    (scales,) = image.ome_attributes.multiscales
    assert [axis.name for axis in scales.axes] == ["y", "x"]
    assert scales.axes[0].unit == "micrometer"
    assert scales.datasets[0].coordinateTransformations[0].scale == [0.5, 0.5]
    assert group["0"].chunks == (44, 44)
    assert 0 < probability(folder / "whole", "slide").std() < 1
    assert group["labels/cells/0"].chunks == (44, 44)
    Labels05.from_zarr(group["labels"])
    ImageLabel05.from_zarr(group["labels/cells"])
    assert group["labels/cells"].attrs["ome"]["image-label"]["colors"] == []  # viewers show what no colour is given for


def test_version_4_with_a_pyramid(folder, monkeypatch):
    from bundle.large import result_store

    monkeypatch.setattr(result_store, "_SMALLEST", 40)
    options = {"ome_zarr": 0.4, "probability_dtype": "uint8", "block_size": 88}
    store = segment(folder, folder / "old", **options)
    group = zarr.open_group(store, mode="r")
    image = Image04.from_zarr(group)
    ImageLabel04.from_zarr(group["labels/cells"])
    assert group["labels/cells"].attrs["image-label"]["colors"] == []
    assert group["labels"].attrs["labels"] == ["cells"]
    np.testing.assert_array_equal(group["labels/cells/1"][:], np.asarray(group["labels/cells/0"][:])[::2, ::2])
    assert len(image.attributes.multiscales[0].datasets) == 3
    assert [group[name].shape for name in "012"] == [(130, 100), (65, 50), (33, 25)]
    full = np.asarray(group["0"][:])
    np.testing.assert_array_equal(full, np.rint(probability(folder / "whole", "slide").T * np.float32(255)))
    means = full.reshape(65, 2, 50, 2).astype(float).mean(axis=(1, 3))
    assert np.abs(np.asarray(group["1"][:]) - means).max() <= 0.5
    assert image.attributes.multiscales[0].datasets[1].coordinateTransformations[1].translation == [0.25, 0.25]


def test_labels_that_are_found_again_get_their_pyramid_again(folder, tmp_path, monkeypatch):
    """Killed between the pyramid and the note that all is done."""
    from bundle.large import result_store

    monkeypatch.setattr(result_store, "_SMALLEST", 40)
    with pytest.MonkeyPatch.context() as patch:
        real = image_in_blocks.label_image

        def killed(*arguments):
            real(*arguments)
            raise KeyboardInterrupt

        patch.setattr(image_in_blocks, "label_image", killed)
        with pytest.raises(KeyboardInterrupt):
            segment(folder, tmp_path)
    group = zarr.open_group(segment(folder, tmp_path), mode="r")
    full = np.asarray(group["labels/cells/0"][:])
    assert full.any()
    np.testing.assert_array_equal(group["labels/cells/1"][:], full[::2, ::2])


@pytest.mark.parametrize("options", [{"block_size": 88}, {"block_size": None}, {"block_size": [132, 44]}])
def test_the_size_of_blocks_changes_nothing(folder, tmp_path, options):
    segment(folder, tmp_path, **options)
    assert probability(tmp_path, "slide").tobytes() == probability(folder / "whole", "slide").tobytes()


def stopped_after(monkeypatch, blocks: int, error: BaseException):
    real = probability_module.ProbabilityBlocks.__call__
    state = SimpleNamespace(left=blocks, computed=[])

    def call(self, number):
        if state.left == 0:
            raise error
        state.left -= 1
        state.computed.append(number)
        real(self, number)

    monkeypatch.setattr(probability_module.ProbabilityBlocks, "__call__", call)
    return state


def test_a_job_goes_on_where_it_was_stopped(folder, tmp_path, monkeypatch):
    state = stopped_after(monkeypatch, 4, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        segment(folder, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "slide_segmentation.job",
        "slide_segmentation.ome.zarr",
    ]
    state.left = -1
    segment(folder, tmp_path, tile_size=None, block_size=None)  # those that it was begun with
    assert state.computed == list(range(9))
    assert content(tmp_path) == content(folder / "whole")
    segment(folder, tmp_path)
    assert state.computed == list(range(9)), "it was complete"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile_size": 128}, "tile_size was 84 x 84, is 128 x 128"),
        ({"block_size": 132}, r"block_size was 44 x 44, is 100 x 130"),
        ({"probability_dtype": "float16"}, "probability_dtype was float32, is float16"),
        ({"ome_zarr": "0.4"}, "ome_zarr was 0.5, is 0.4"),
        ({"missing": "fill"}, "missing was error, is fill"),
        ({"tta": "d4"}, "tta was none, is d4"),
        ({"robust": True}, "standardize was mean and deviation, is robust"),
        ({"threads": 2}, "threads was 1, is 2"),
        ({"network": 1}, "network was model [0-9a-f]{64}, is other [0-9a-f]{64}"),
        ({"image": (50, 50)}, r"image shape was \[130, 100\], is \[50, 50\]"),
    ],
)
def test_other_settings_are_refused_with_what_differs(folder, tmp_path, monkeypatch, options, message):
    stopped_after(monkeypatch, 1, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        segment(folder, tmp_path / "out")
    before = content(tmp_path / "out")
    image, model = folder / "slide.zarr", folder / "model.pt"
    if options.pop("threads", None):
        monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    if options.pop("network", None):
        model = tmp_path / "other.pt"  # its blocks and tiles do not fit those that were begun with
        checkpoints.write(model, UNet(2, 1, 2, base_channels=3, depth=1).state_dict())
    if shape := options.pop("image", None):
        image = write_store(tmp_path / "slide.zarr", [np.ones(shape, np.uint16)], "yx")
    with pytest.raises(RuntimeError, match=rf"was begun with other settings.*{message}.*or remove it to begin again"):
        large(image, tmp_path / "out", model, **{"tile_size": None, **options}).run()
    assert content(tmp_path / "out") == before


def test_other_pixels_are_noticed_and_a_copy_is_the_same_image(folder, tmp_path, monkeypatch):
    pixels = np.asarray(zarr.open_group(folder / "slide.zarr", mode="r")["0"][:])
    store, out = write_store(tmp_path / "slide.zarr", [pixels], "yx", chunks=(40, 40)), tmp_path / "out"
    state = stopped_after(monkeypatch, 1, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        large(store, out, folder / "model.pt", block_size=44).run()
    state.left = -1
    array = zarr.open_group(store, mode="r+")["0"]
    array[70, 90] += 1
    with pytest.raises(RuntimeError, match=r"slide.zarr: its part x 80 to 99, y 0 to 129 has other pixels, or"):
        large(store, out, folder / "model.pt", block_size=44).run()
    array[70, 90] -= 1
    large(store, out, folder / "model.pt", block_size=44).run()
    assert state.computed == list(range(9))
    assert content(out) == content(folder / "whole")


def test_what_is_not_of_this_command_is_left_alone(folder, tmp_path):
    there = tmp_path / "slide_segmentation.ome.zarr"
    there.mkdir()
    (there / "mine").write_text("x")
    with pytest.raises(RuntimeError, match="is there and no result of this command: move it away"):
        segment(folder, tmp_path)
    assert (there / "mine").read_text() == "x"


def test_two_processes_do_not_work_on_one_job(folder, tmp_path):
    (tmp_path / "slide_segmentation.job").mkdir()
    with FileLock(tmp_path / "slide_segmentation.job" / "lock"), pytest.raises(RuntimeError, match="another process"):
        segment(folder, tmp_path)
    segment(folder, tmp_path)


def test_blocks_that_cannot_be_done_are_named_and_the_others_are_done(folder, tmp_path):
    """Then a repeated command does these alone."""
    pixels = np.asarray(zarr.open_group(folder / "slide.zarr", mode="r")["0"][:])
    store = write_store(tmp_path / "slide.zarr", [pixels], "yx", chunks=(40, 40))
    out = tmp_path / "out"
    run = large(store, out, folder / "model.pt", block_size=44)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_in_blocks, "run_blocks", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):  # once gray values are known
            run.run()
    chunk = store / "0" / "c" / "3" / "2"  # of the last block, and of a neighbour's margin
    kept = chunk.read_bytes()
    chunk.write_bytes(b"nonsense")
    with pytest.raises(
        RuntimeError,
        match=r"2 of 9 blocks of the probability could not.*\(block 5: .*zarr/0/c/3/2 cannot be read.*; block 8: ",
    ):
        run.run()
    chunk.write_bytes(kept)
    with pytest.MonkeyPatch.context() as patch:
        state = stopped_after(patch, 9, KeyboardInterrupt())
        run.run()
    assert state.computed == [5, 8]
    assert probability(out, "slide").tobytes() == probability(folder / "whole", "slide").tobytes()


@pytest.mark.parametrize(("damage", "said"), [(b"nonsense", "cannot be read"), (None, "is missing")])
def test_an_image_that_cannot_be_read_once_leaves_nothing(folder, tmp_path, caplog, damage, said):
    store = write_store(tmp_path / "slide.zarr", [np.ones((130, 100), np.uint16)], "yx", chunks=(40, 40))
    chunk = store / "0" / "c" / "3" / "2"
    chunk.unlink() if damage is None else chunk.write_bytes(damage)
    with pytest.raises(RuntimeError, match=rf"slide.zarr/0/c/3/2 {said}"):
        large(store, tmp_path / "out", folder / "model.pt").run()
    assert list((tmp_path / "out").iterdir()) == []
    assert not caplog.messages, "the command ends with it"


def test_a_full_disk_stops_the_job_in_one_sentence(folder, tmp_path, monkeypatch):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "chunk")
    state = stopped_after(monkeypatch, 3, full)
    with pytest.raises(
        RuntimeError, match=r"stopped at block 3 of 9 of the probability: No space left on device \(chunk\)"
    ):
        segment(folder, tmp_path)
    state.left = -1
    segment(folder, tmp_path)
    assert content(tmp_path) == content(folder / "whole")


def full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("fail", "kind", "said"),
    [
        (full, RuntimeError, "a.zarr: No space left on device: what is done is kept; make room"),
        (partial(require_stored_type, "x"), RuntimeError, "a.zarr: probability_dtype must be"),
        (partial(int, "x"), ValueError, "invalid literal"),  # a mistake of ours
    ],
)
def test_what_fails_after_the_blocks_costs_no_other_image(folder, tmp_path, monkeypatch, fail, kind, said):
    """Libraries name no file in an error, and what concerns one image names no image."""
    real, left = image_in_blocks.build_pyramid, [fail]

    def build(*arguments, **options):
        left.pop()() if left else real(*arguments, **options)

    monkeypatch.setattr(image_in_blocks, "build_pyramid", build)
    with pytest.raises(kind, match=said):
        two(folder, tmp_path).run()
    assert (tmp_path / "out" / "b_segmentation_cells.csv").is_file() == (kind is RuntimeError)


def two(folder: Path, tmp_path: Path):
    for name in "ab":
        (tmp_path / f"{name}.zarr").symlink_to(folder / "slide.zarr")
    return large([tmp_path / f"{name}.zarr" for name in "ab"], tmp_path / "out", folder / "model.pt", block_size=44)


def test_weights_are_loaded_once(folder, tmp_path, monkeypatch):
    """Backends convert a network anew when its weights were written to."""
    loaded = []
    real = TrainedNetwork.load
    monkeypatch.setattr(TrainedNetwork, "load", lambda self, network: loaded.append(real(self, network)))
    two(folder, tmp_path).run(lambda: loaded.append("others"))
    assert [type(each) for each in loaded] == [UNet, str]


def test_the_summary_has_the_rows_of_this_run_alone(folder, tmp_path):
    """Of images that are read whole and all fail nobody begins the table anew."""
    (tmp_path / "summary.csv").write_text("file,cells\nearlier.tif,3\n")

    def fail() -> None:
        raise RuntimeError("d.tif: all NaN")

    with pytest.raises(RuntimeError, match="all NaN"):
        large(folder / "slide.zarr", tmp_path, folder / "model.pt", block_size=44).run(fail)
    assert (tmp_path / "summary.csv").read_bytes() == (folder / "whole" / "summary.csv").read_bytes()


def test_a_store_that_goes_away_stops_the_job(folder, tmp_path, monkeypatch):
    real = probability_module.ProbabilityBlocks.__call__

    def call(self, number):
        if number == 2:
            (tmp_path / "slide_segmentation.ome.zarr").rename(tmp_path / "elsewhere")
        real(self, number) if number < 2 else None

    monkeypatch.setattr(probability_module.ProbabilityBlocks, "__call__", call)
    with pytest.raises(RuntimeError, match=r"stopped at block 3 of 9 .* has gone"):
        segment(folder, tmp_path)


def test_too_little_room_is_said_before(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(forecast.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    for plan in (False, True):
        with pytest.raises(RuntimeError, match=r"takes up to 0.0 GiB, 0.0 GiB are free .* --probability_dtype uint8"):
            segment(folder, tmp_path, plan=plan)
    assert list(tmp_path.iterdir()) == []


def test_a_plan_says_blocks_disk_and_time_and_makes_nothing(folder, tmp_path, capsys):
    segment(folder, tmp_path, plan="true")
    said = capsys.readouterr().out
    assert "100 x 130 px in 9 blocks of 44 x 44 px, 9 tiles of 84 x 84 px; up to " in said
    assert "GiB on the disk; about 1 second of one worker for the network alone, without start, gray values" in said
    assert list(tmp_path.iterdir()) == []
    segment(folder, tmp_path, plan="true", block_size=132, tile_size=220)
    assert "in 1 block of 100 x 130 px, 1 tile of 220 x 220 px;" in capsys.readouterr().out


def test_a_plan_waits_for_a_gpu_before_it_looks_at_the_clock(monkeypatch, capsys):
    told = []
    monkeypatch.setattr(forecast.time, "perf_counter", lambda: told.append("clock") or 0.0)
    image, layout = SimpleNamespace(path="a.tif", size=(10, 10)), SimpleNamespace(bytes=0)
    plan = BlockPlan(ValidGeometry(1).plan((10, 10), 28))
    output = SimpleNamespace(cpu=lambda: told.append("waited"))
    forecast.tell_plan(image, plan, None, layout, lambda tile: output, None, turns=1, done=0)
    assert told == ["waited", "clock"] * 2
    assert "in 1 block" in capsys.readouterr().out


def test_the_plan_of_a_job_that_has_begun_says_what_is_done(folder, tmp_path, monkeypatch, capsys):
    stopped_after(monkeypatch, 4, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        segment(folder, tmp_path)
    segment(folder, tmp_path, plan="true")
    segment(folder, folder / "whole", plan="true")
    said = capsys.readouterr().out.splitlines()
    assert ["in 9 blocks of 44 x 44 px, of which 4 are done, 9" in said[0], "of which 9 are done" in said[1]] == [
        True
    ] * 2


def test_the_backend_goes_by_the_level_that_is_read(folder, tmp_path):
    asked = []

    class Asked(Predictors):
        def __call__(self, sizes, begun=None):
            asked.append(sizes)
            return super().__call__(sizes, begun)

    store = write_store(tmp_path / "two.zarr", [np.zeros((100, 80), np.uint8), np.zeros((50, 40), np.uint8)], "yx")
    predictors = Asked(TrainedNetwork(folder / "model.pt").build())
    large(store, tmp_path / "out", folder / "model.pt", level=1, plan=True, predictors=predictors).run()
    assert asked[-1] == [(40, 50)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context_slices": 1}, "it is a single image, and the network was trained with 1 neighbouring slices"),
        ({"level": 4}, "it has no level 4"),
        ({"block_size": 50}, r"slide.zarr: block_size must be a multiple of 44 px.*nearest is 44"),
        ({"block_size": 0}, r"slide.zarr: block_size must be a multiple of 44 px.*got 0; the nearest is 44"),
        ({"cells": CellOptions(connectivity=3)}, r"slide.zarr: connectivity must be 1 \.\. 2"),
    ],
)
def test_what_is_not_possible_is_refused(folder, tmp_path, options, message):
    with pytest.raises(RuntimeError, match=message):
        segment(folder, tmp_path, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ome_zarr": "0.3"}, "ome_zarr must be 0.5 or 0.4, got '0.3'"),
        ({"probability_dtype": "int8"}, "probability_dtype must be one of float32, float16, uint8, got 'int8'"),
        ({"plan": "perhaps"}, "plan must be true or false"),
    ],
)
def test_options_out_of_range(folder, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        segment(folder, tmp_path, **options)


def test_a_result_beside_its_image_is_refused(folder):
    with pytest.raises(RuntimeError, match=r"output_dir is its own folder: .*segmentation would do"):
        segment(folder, folder)


def in_a_process(folder: Path, out: Path, kind: str | None, nth: int) -> int:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            torch.set_num_threads(1)
            arm([out], out.parent / "record", kind, nth)
            segment(folder, out)
            code = 0
        except (RuntimeError, OSError) as error:
            (out.parent / "said").write_text(str(error))
            code = 3
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_killed_in_any_write_it_goes_on_to_the_same_bytes(folder, tmp_path):
    """A sample of the accesses; make test-crash takes each."""
    assert in_a_process(folder, tmp_path / "count", None, 0) == 0
    accesses = len(read_record(tmp_path / "record"))
    assert accesses > 150
    # their number varies by a few, for zarr writes in threads
    for nth in range(5, accesses * 9 // 10, accesses // 9):
        out = tmp_path / str(nth)
        assert in_a_process(folder, out, "kill", nth) == -signal.SIGKILL, (nth, accesses)
        segment(folder, out)
        assert content(out) == content(folder / "whole"), nth

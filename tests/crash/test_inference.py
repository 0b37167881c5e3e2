"""An inference of a folder in which each write access fails once, whichever it is; and on disks that are full."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.context import ForkServerContext
from pathlib import Path

import monai.bundle
import nibabel as nib
import numpy as np
import pytest
import tifffile
import torch

from bundle.model import checkpoints
from bundle.networks import UNet
from tests.conftest import ROOT
from tests.crash.bench import as_a_command
from tests.crash.io_faults import KINDS, arm, read_record
from tests.crash.sentences import require_one_sentence
from tests.crash.whole_files import leftovers, require_whole
from tests.warm import warm

pytestmark = pytest.mark.crash


def infer(log: Path, folder: Path, output: Path, prepare: Callable[[], object] | None) -> None:
    """What a process does: the command line's inference, with whatever ``prepare`` changes."""

    def work() -> None:
        if prepare is not None:
            prepare()
        monai.bundle.run(
            "inference",
            config_file=str(ROOT / "configs/inference.json"),
            logging_file=str(ROOT / "configs/logging.conf"),
            bundle_root=str(ROOT),
            dataset_dir=str(folder / "images"),
            output_dir=str(output),
            checkpoint=str(folder / "model.pt"),
            device="$torch.device('cpu')",
            precision="fp32",
        )

    as_a_command(log, work)


class Inferences:
    """Inferences of a TIFF, a NIfTI volume and an MHA image."""

    def __init__(self, folder: Path, context: ForkServerContext) -> None:
        import itk

        self.folder, self.context = folder, context
        images = folder / "images"
        images.mkdir()
        gray = np.random.default_rng(0)
        tifffile.imwrite(images / "a.tif", gray.integers(0, 255, (60, 70), dtype=np.uint8))
        nib.save(nib.Nifti1Image(gray.integers(0, 255, (40, 50, 2), dtype=np.uint8), np.eye(4)), images / "b.nii.gz")
        itk.imwrite(itk.image_from_array(gray.integers(0, 255, (40, 50), dtype=np.uint8)), str(images / "c.mha"))
        torch.manual_seed(0)
        checkpoints.write(folder / "model.pt", UNet(2, 1, 2, base_channels=2, depth=2).state_dict())
        assert self.run("whole") == 0, self.said("whole")

    def run(self, name: str, prepare: Callable[[], object] | None = None, output: Path | None = None) -> int:
        arguments = (self.folder / f"{name}.log", self.folder, output or self.folder / name, prepare)
        (self.folder / f"{name}.log").unlink(missing_ok=True)
        process = self.context.Process(target=infer, args=arguments)
        process.start()
        process.join()
        return int(process.exitcode)

    def said(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def require_survived(self, name: str, code: int, kind: str, output: Path | None = None) -> None:
        said, output = self.said(name), output or self.folder / name
        if code == 1:
            require_one_sentence(said, output)
        else:
            assert code == (-signal.SIGKILL if kind == "kill" else 0), said[-2000:]
        assert "Traceback" not in said, said[-3000:]
        require_whole(output)
        self.require_same(name, output)

    def require_same(self, name: str, output: Path) -> None:
        """Once it is repeated."""
        assert self.run(name, output=output) == 0, self.said(name)[-2000:]
        assert not leftovers(output)
        assert content(output) == content(self.folder / "whole")


def content(folder: Path) -> dict[str, bytes]:
    """A compressed NIfTI has the time in its bytes 4 to 8, a page the name of its folder as title."""
    found = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    found = {name: content[8 * name.endswith(".gz") :] for name, content in found.items()}
    return found | {"index.html": found["index.html"].replace(f">{folder.name}".encode(), b">")}


@pytest.fixture(scope="module")
def inferences(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inferences]:
    with warm("tests.crash.test_inference", "itk") as context:
        yield Inferences(tmp_path_factory.mktemp("inference"), context)


@pytest.mark.parametrize("kind", KINDS)
def test_each_access(inferences: Inferences, kind: str) -> None:
    def run(name: str, nth: int = 0) -> int:
        faulty = partial(arm, [inferences.folder / name], inferences.folder / f"{name}.io", kind if nth else None, nth)
        return inferences.run(name, faulty)

    assert run(f"count-{kind}") == 0, inferences.said(f"count-{kind}")
    accesses = read_record(inferences.folder / f"count-{kind}.io")
    assert {"a_cells.tif", "b_probability.nii.gz", "c_cells.mha"} <= {Path(path).name for *_, path in accesses}
    tried, wrong = accesses[:: int(os.environ.get("CRASH_EVERY", "1"))], []
    for nth, operation, path in tried:
        name = f"{kind}-{nth}"
        try:
            inferences.require_survived(name, run(name, nth), kind)
        except AssertionError as error:
            wrong.append(f"{nth} {operation} {path.removeprefix(str(inferences.folder))}: {error}")
            print(wrong[-1], flush=True)
        shutil.rmtree(inferences.folder / name, ignore_errors=True)
    print(f"inference {kind}: {len(tried)} of {len(accesses)} accesses", flush=True)
    assert not wrong, "\n\n".join([f"{len(wrong)} of {len(tried)}", *wrong])


def limit(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize("size", [0, 1, 300, 1000, 2000, 4000, 8000, 9000])
def test_files_that_do_not_fit(inferences: Inferences, size: int) -> None:
    """Also what libraries in C write: MHA, and TIFF in one piece."""
    name = f"limit-{size}"
    inferences.require_survived(name, inferences.run(name, partial(limit_later, size)), "limit")


def limit_later(size: int) -> None:
    """Once what is said of the images so far is in the log, which is a file, too."""
    from bundle.output.writer import SegmentationWriter

    write_files = SegmentationWriter._write

    def write(*args: object) -> object:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            return write_files(*args)  # type: ignore[arg-type]
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    SegmentationWriter._write = write  # type: ignore[assignment, method-assign]


@contextmanager
def small_disk(folder: Path, kib: int) -> Iterator[Path]:
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small file system is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=False)


@pytest.mark.parametrize("kib", [4, 16, 28, 40, 52, 64])
def test_a_full_disk(inferences: Inferences, tmp_path: Path, kib: int) -> None:
    with small_disk(tmp_path / "disk", kib) as disk:
        code = inferences.run(f"disk-{kib}", output=disk / "out")
        said = inferences.said(f"disk-{kib}")
        assert code == 1, said[-2000:]
        require_one_sentence(said, disk)
        require_whole(disk)
        subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)
        inferences.require_same(f"disk-{kib}", disk / "out")


def test_a_disk_that_is_full_before_it_begins(inferences: Inferences, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 64) as disk:
        with (disk / "rest").open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        assert inferences.run("full", output=disk / "out") == 1
        require_one_sentence(inferences.said("full"), disk)

"""An export that does not fit on the disk leaves nothing that could be taken for a network."""

from __future__ import annotations

import resource
from functools import partial
from multiprocessing.context import ForkServerContext
from pathlib import Path

import monai.bundle
import pytest
import torch

from bundle.atomic import sha256
from bundle.model import checkpoints
from bundle.networks import UNet
from tests.conftest import ROOT
from tests.crash.bench import as_a_command
from tests.warm import warm

pytestmark = pytest.mark.crash


def export(folder: Path, size: int | None) -> None:
    def work() -> None:
        if size is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        monai.bundle.ckpt_export(
            "network_def",
            filepath=str(folder / "model.ts"),
            ckpt_file=str(folder / "model.pt"),
            meta_file=str(ROOT / "configs" / "metadata.json"),
            config_file=str(ROOT / "configs" / "inference.json"),
            checkpoint=str(folder / "model.pt"),
            bundle_root=str(ROOT),
        )

    as_a_command(folder / "export.log", work)


def run(context: ForkServerContext, folder: Path, size: int | None) -> int:
    process = context.Process(target=partial(export, folder, size))
    process.start()
    process.join()
    return int(process.exitcode)


def test_it_is_whole_or_cannot_be_loaded(tmp_path: Path) -> None:
    checkpoints.write(tmp_path / "model.pt", UNet(2, 1, 2, base_channels=8, depth=2).state_dict())
    before = sha256(tmp_path / "model.pt")
    with warm("tests.crash.test_export") as context:
        assert run(context, tmp_path, None) == 0, (tmp_path / "export.log").read_text()[-2000:]
        size = (tmp_path / "model.ts").stat().st_size
        for limit in (20_000, size // 2, size - 4096, size - 1):
            (tmp_path / "model.ts").unlink()
            assert run(context, tmp_path, limit) != 0, limit
            if (tmp_path / "model.ts").is_file():
                with pytest.raises(RuntimeError):
                    torch.jit.load(tmp_path / "model.ts")
            assert sha256(tmp_path / "model.pt") == before
            assert run(context, tmp_path, None) == 0
            torch.jit.load(tmp_path / "model.ts")

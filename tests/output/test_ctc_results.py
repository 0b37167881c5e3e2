"""The challenge's result layout: names, types and positions of the masks, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from monai.transforms import Compose

from bundle.data.loading import LoadSliced
from bundle.output.ctc_results import ChallengeWriter
from tests.data.ctc_set import save

SIZE = (5, 7)


@pytest.fixture
def positions() -> np.ndarray:
    """Rows and columns; every pixel is a cell of its own, so that a transposed mask shows itself."""
    return np.arange(np.prod(SIZE)).reshape(SIZE).astype(np.uint16)


def infer(path: Path, writer: ChallengeWriter, dtype=torch.int32, add: int = 0) -> dict:
    """Stand-in for inference: the cells are the image."""
    data = LoadSliced("image", spatial_dims=None)({"image": str(path)})
    return writer({**data, "instances": (data["image"] + add).to(dtype)})


def test_masks_lie_on_the_images_with_their_numbers(tmp_path, positions):
    writer = ChallengeWriter(tmp_path / "out")
    for name in ("t000", "t012", "t999"):
        infer(save(tmp_path / f"01/{name}.tif", positions), writer)
    infer(save(tmp_path / "02/t0012.tif", positions), writer)
    found = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*"))
    assert found == ["01_RES/mask000.tif", "01_RES/mask012.tif", "01_RES/mask999.tif", "02_RES/mask0012.tif"]
    mask = tifffile.imread(tmp_path / "out/01_RES/mask012.tif")
    assert mask.dtype == np.uint16
    np.testing.assert_array_equal(mask, positions)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float32])
def test_any_type_of_instances(tmp_path, positions, dtype):
    infer(save(tmp_path / "01/t000.tif", positions), ChallengeWriter(tmp_path), dtype)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "01_RES/mask000.tif"), positions)


def test_a_folder_that_is_a_result_folder_is_taken_itself(tmp_path, positions):
    infer(save(tmp_path / "01/t000.tif", positions), ChallengeWriter(tmp_path / "mine" / "01_RES"))
    assert [path.name for path in (tmp_path / "mine/01_RES").iterdir()] == ["mask000.tif"]


@pytest.mark.parametrize(("name", "mask"), [("frame_7", "mask007"), ("a2-b0031", "mask0031"), ("5", "mask005")])
def test_the_frame_is_the_number_at_the_end(tmp_path, positions, name, mask):
    infer(save(tmp_path / f"01/{name}.tif", positions), ChallengeWriter(tmp_path))
    assert [path.name for path in (tmp_path / "01_RES").iterdir()] == [f"{mask}.tif"]


@pytest.mark.parametrize("name", ["cells", "t002a", "t00002"])
def test_names_without_a_frame(tmp_path, positions, name):
    with pytest.raises(ValueError, match=rf"{name}\.tif: .* must end in a number of at most 4 digits, as t002\.tif"):
        infer(save(tmp_path / f"01/{name}.tif", positions), ChallengeWriter(tmp_path))


@pytest.mark.parametrize("other", ["01/t0002.tif", "01/x2.tif"])
def test_two_images_of_one_frame(tmp_path, positions, other):
    writer = ChallengeWriter(tmp_path)
    first = save(tmp_path / "01/t002.tif", positions)
    infer(first, writer)
    infer(first, writer)  # the same image again is no second one
    with pytest.raises(ValueError, match=rf"t002\.tif and .*{Path(other).name} are both frame 2 of .*01_RES: rename"):
        infer(save(tmp_path / other, positions), writer)
    assert [path.name for path in (tmp_path / "01_RES").iterdir()] == ["mask002.tif"]


def test_65535_cells_fit_and_no_more(tmp_path, positions):
    path, writer = save(tmp_path / "01/t000.tif", positions), ChallengeWriter(tmp_path)
    infer(path, writer, add=65535 - int(positions.max()))
    assert tifffile.imread(tmp_path / "01_RES/mask000.tif").max() == 65535
    with pytest.raises(ValueError, match=r"t000\.tif: labels of .* 16-bit masks are 0 to 65535, got 65502 to 65536"):
        infer(path, writer, add=65536 - int(positions.max()))
    with pytest.raises(ValueError, match="are 0 to 65535, got -1 to 33"):
        infer(path, writer, add=-1)
    assert [path.name for path in (tmp_path / "01_RES").iterdir()] == ["mask000.tif"]


def test_an_interrupted_write_leaves_the_earlier_file(tmp_path, positions, monkeypatch):
    path, writer = save(tmp_path / "01/t000.tif", positions), ChallengeWriter(tmp_path)
    infer(path, writer)

    def die(target, array):
        target.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("bundle.output.ctc_results.write_tiff", die)
    with pytest.raises(KeyboardInterrupt):
        infer(path, writer, add=1)
    assert [path.name for path in (tmp_path / "01_RES").iterdir()] == ["mask000.tif"]
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "01_RES/mask000.tif"), positions)


def test_stacks_and_other_grids(tmp_path, positions):
    writer = ChallengeWriter(tmp_path)
    stack = save(tmp_path / "01/t000.tif", np.stack([positions] * 3))
    with pytest.raises(ValueError, match=r"a frame is one 2D image in a file of its own, got cells of shape \(1, 7"):
        infer(stack, writer)
    page = LoadSliced("image")({"image": str(stack), "slice": 1})
    with pytest.raises(ValueError, match="a frame is one 2D image"):
        writer({**page, "instances": page["image"]})
    data = LoadSliced("image")({"image": str(save(tmp_path / "01/t001.tif", positions))})
    with pytest.raises(ValueError, match=r"t001\.tif' have the size \(6, 5\), the image here \(7, 5\) and in the file"):
        writer({**data, "instances": data["image"][:, 1:]})
    with pytest.raises(ValueError, match=r"the image here \(6, 5\) and in the file \(7, 5\)"):
        writer({"image": data["image"][:, 1:], "instances": data["image"][:, 1:]})


def test_what_is_missing_and_where_it_may_not_go(tmp_path, positions):
    image = LoadSliced("image")({"image": str(save(tmp_path / "01_RES/t000.tif", positions))})["image"]
    with pytest.raises(KeyError, match=r"'instances' is missing; the writer got \['image'\]"):
        ChallengeWriter(tmp_path)({"image": image})
    with pytest.raises(ValueError, match="'image' has no filename_or_obj"):
        ChallengeWriter(tmp_path)({"image": image.as_tensor(), "instances": image})
    with pytest.raises(ValueError, match="is the folder of the images, where masks could replace them"):
        ChallengeWriter(tmp_path / "01_RES")({"image": image, "instances": image})
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileExistsError, match=r"output_dir .*file' cannot be written \(File exists\)"):
        ChallengeWriter(tmp_path / "file")


def test_in_a_chain(tmp_path, positions):
    path = save(tmp_path / "01/t000.tif", positions)
    chain = Compose([LoadSliced(["image", "instances"], label_keys="instances"), ChallengeWriter(tmp_path)])
    assert chain({"image": str(path), "instances": str(path)}).keys() == {"image", "instances"}
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "01_RES/mask000.tif"), positions)

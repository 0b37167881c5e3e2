"""The command that measures results of any program: label maps and probability maps, by name or by frame."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from bundle.metrics.__main__ import main
from bundle.metrics.isbi2012 import MEASURES


def write(path, array, dtype=np.uint16):
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, np.array(array, dtype), photometric="minisblack")


def run(tmp_path, *more):
    main(["--truth", str(tmp_path / "truth"), "--result", str(tmp_path / "out"), *more])


def test_the_command(tmp_path, capsys):
    write(tmp_path / "truth/a.tif", [[1, 1, 0, 2]])
    write(tmp_path / "out/a_cells.tif", [[7, 0, 0, 8]])
    run(tmp_path)
    assert capsys.readouterr().out.splitlines() == [
        "SEG 0.5000 over 2 cells in 1 images; the results have 2",
        "F1 at an IoU above 0.5: 0.5000, 0.6: 0.5000, 0.7: 0.5000, 0.8: 0.5000, 0.9: 0.5000",
        "at 0.5: 1 matched, 1 missed, 1 invented",
    ]
    with pytest.raises(SystemExit, match=r"missing .*b\.tif"):
        run(tmp_path, "--names", "b")


def test_cells_of_a_mask_are_told_apart_whatever_its_image_is_called(tmp_path, capsys):
    write(tmp_path / "truth/frame 1.tif", [[1, 1, 0, 1]])
    write(tmp_path / "out/frame 1_cells.tif", [[7, 7, 0, 8]])
    run(tmp_path)
    assert capsys.readouterr().out.startswith("SEG 1.0000 over 2 cells in 1 images; the results have 2\n")


@pytest.fixture
def challenge(tmp_path):
    """Frames 0 and 2 with truth, masks of 0 to 2, one of them with four digits."""
    for frame, cells in ((0, [[1, 1, 0, 2]]), (2, [[5, 5, 0, 0]])):
        write(tmp_path / f"truth/man_seg{frame:03d}.tif", cells)
    for name, cells in (("mask000", [[7, 0, 0, 8]]), ("mask001", [[1, 1, 1, 1]]), ("mask0002", [[3, 3, 3, 0]])):
        write(tmp_path / f"out/{name}.tif", cells)
    return tmp_path


def test_the_command_knows_the_names_of_the_challenge(challenge, capsys):
    run(challenge)
    assert capsys.readouterr().out.startswith("SEG 0.5556 over 3 cells in 2 images; the results have 3\n")
    run(challenge, "--names", "002")
    assert capsys.readouterr().out.startswith("SEG 0.6667 over 1 cells in 1 images; the results have 1\n")
    with pytest.raises(SystemExit, match="names must be frames with truth, 000, 002; got 001"):
        run(challenge, "--names", "001")


def test_masks_that_are_missing_or_there_twice(challenge):
    write(challenge / "out/mask002.tif", [[1]])
    with pytest.raises(SystemExit, match=r"mask0002\.tif and mask002\.tif are both frame 2"):
        run(challenge)
    for name in ("mask002", "mask0002", "mask000"):
        (challenge / f"out/{name}.tif").unlink()
    with pytest.raises(SystemExit, match=r"error: missing .*out.mask000\.tif, .*out.mask002\.tif$"):
        run(challenge)
    write(challenge / "truth/man_seg_003_001.tif", [[1]])
    with pytest.raises(SystemExit, match=r"man_seg_003_001\.tif is one slice of a 3D segmentation"):
        run(challenge)


@pytest.mark.parametrize(
    ("array", "dtype", "message"),
    [
        (
            [[0.5, 0, 0, 0]],
            np.float32,
            r"a label map holds whole numbers below 2\^31, but 1 of its pixels do not, first 0\.5",
        ),
        ([[np.nan, 0, 0, 0]], np.float32, r"a label map holds whole numbers .*, first nan"),
        (
            [[1, 0, 0]],
            np.uint16,
            r"frame 2, .*man_seg002\.tif and .*mask0002\.tif: result has shape \(3, 1\), truth \(4, 1\)",
        ),
    ],
)
def test_a_frame_that_cannot_be_measured_is_named(challenge, array, dtype, message):
    write(challenge / "out/mask0002.tif", array, dtype)
    with pytest.raises(SystemExit, match=rf"error: .*{message}"):
        run(challenge)


def test_a_file_that_is_no_image_is_named(challenge):
    (challenge / "out/mask000.tif").write_bytes(b"no tiff")
    with pytest.raises(SystemExit, match=r"mask000\.tif"):
        run(challenge)


def test_nothing_to_measure(tmp_path):
    with pytest.raises(SystemExit, match=r"truth does not exist: give a folder of images"):
        run(tmp_path)
    (tmp_path / "truth").mkdir()
    with pytest.raises(SystemExit, match=r"out does not exist"):
        run(tmp_path)
    (tmp_path / "out").mkdir()
    with pytest.raises(SystemExit, match=r"no image in .*truth"):
        run(tmp_path)


@pytest.mark.parametrize("suffix", [".tif", ".TIF", ".tiff"])
def test_the_command_tells_cells_of_a_mask_apart_and_finds_every_tiff(suffix, tmp_path, capsys):
    cells = np.zeros((20, 30), np.uint8)
    cells[2:10, 2:10], cells[12:18, 15:28] = 1, 2
    (tmp_path / "truth").mkdir()
    (tmp_path / "found").mkdir()
    tifffile.imwrite(tmp_path / f"truth/a{suffix}", np.where(cells > 0, 255, 0).astype(np.uint8))
    tifffile.imwrite(tmp_path / "truth/._b.tif", cells)  # of another system, no image
    tifffile.imwrite(tmp_path / "found/a_cells.tif", cells)
    main(["--truth", str(tmp_path / "truth"), "--result", str(tmp_path / "found")])
    assert capsys.readouterr().out.startswith("SEG 1.0000 over 2 cells in 1 images; the results have 2\n")


def test_probabilities_of_a_stack_are_those_of_the_functions(tmp_path, capsys):
    random = np.random.RandomState(0)
    truth = np.zeros((3, 40, 50), np.uint8)
    truth[:, 3:18, 3:45] = truth[:, 22:36, 3:45] = 255
    proposal = np.clip(truth / 255 * 0.6 + random.rand(*truth.shape) * 0.4, 0, 1).astype(np.float32)
    for name, array in (("labels.tif", truth), ("p.tif", proposal), ("p16.tif", np.uint16(np.rint(proposal * 65535)))):
        tifffile.imwrite(tmp_path / name, array, photometric="minisblack")
    files = ["--truth", str(tmp_path / "labels.tif"), "--probability", "--result"]
    main([*files, str(tmp_path / "p.tif")])
    printed = dict(line.split() for line in capsys.readouterr().out.splitlines())
    for name, measure in MEASURES.items():
        assert float(printed.pop(name)) == pytest.approx(measure(truth, proposal), abs=5e-6), name
    cell, found = truth > 0, proposal > 0.5
    assert float(printed.pop("iou")) == pytest.approx((cell & found).sum() / (cell | found).sum(), abs=5e-6)
    assert not printed
    with pytest.raises(
        SystemExit, match=r"p16\.tif holds values of 2 to 65534, .* where 65535 means 1, give --scale 65535"
    ):
        main([*files, str(tmp_path / "p16.tif")])
    main([*files, str(tmp_path / "p16.tif"), "--scale", "65535"])
    with pytest.raises(SystemExit):
        main([*files, str(tmp_path / "p16.tif"), "--scale", "0"])


def test_other_formats_and_names_without_an_end(tmp_path, capsys):
    cells = np.zeros((20, 30), np.uint8)
    cells[2:10, 2:10], cells[12:18, 15:28] = 1, 2
    for folder in ("truth", "out"):
        (tmp_path / folder).mkdir()
    Image.fromarray(cells).save(tmp_path / "truth/a.png")
    write(tmp_path / "out/a.tif", cells)
    run(tmp_path)
    assert capsys.readouterr().out.startswith("SEG 1.0000 over 2 cells in 1 images; the results have 2\nF1 ")
    Image.fromarray(cells).save(tmp_path / "out/a.png")
    with pytest.raises(SystemExit, match=r"a\.png and a\.tif have one name: remove one"):
        run(tmp_path)


def test_shapes_of_probabilities_must_agree(tmp_path):
    write(tmp_path / "truth/a.tif", [[1, 1, 0, 2]])
    write(tmp_path / "out/a_probability.tif", [[1, 1, 0]], np.float32)
    with pytest.raises(SystemExit, match=r"error: a, .*result has shape \(3, 1\), truth \(4, 1\)"):
        run(tmp_path, "--probability")


def test_what_holds_no_probability_of_cell_alone_is_refused(challenge):
    write(challenge / "t.tif", [[1, 0]])
    tifffile.imwrite(challenge / "p.tif", np.full((3, 1, 2), 0.5, np.float32), imagej=True, metadata={"axes": "CYX"})
    with pytest.raises(SystemExit, match=r"p\.tif has 3 channels: give a map with the probability of cell alone"):
        main(["--truth", str(challenge / "t.tif"), "--result", str(challenge / "p.tif"), "--probability"])
    with pytest.raises(SystemExit, match="leave --probability out"):
        run(challenge, "--probability")


def test_a_file_beside_a_folder_is_refused(challenge):
    for truth, result in (("truth", "out/mask000.tif"), ("truth/man_seg000.tif", "out")):
        with pytest.raises(SystemExit, match="must be two folders, or two files"):
            main(["--truth", str(challenge / truth), "--result", str(challenge / result)])

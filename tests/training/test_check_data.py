"""What ``checking`` prints, writes and refuses, in the configs that a training has."""

import base64
import dataclasses
import io
import re
import shutil

import numpy as np
import pytest
import tifffile
from PIL import Image

from bundle.console import own_cause
from bundle.data import datalist, doctor
from bundle.data.doctor import Finding
from bundle.output.check_page import CheckPage, write_page
from bundle.training import check_data as checking
from bundle.training.plan import plan_of, plan_of_data
from tests.conftest import said_by


@pytest.fixture
def check(workflow, tmp_path, capsys, monkeypatch):
    """Run it in this process; the table, the page, and the error's sentence where there is one."""

    def run(*overlays, timed=False, **options):
        if not timed:
            monkeypatch.setattr(checking, "_pace", lambda *_: checking.Pace(0.5))
        flow = workflow(*overlays, **options)
        error = ""
        try:
            checking.check_data(flow.parser, tmp_path / "check.html")
        except Exception as raised:
            error = str(own_cause(raised))
        return capsys.readouterr().out, (tmp_path / "check.html").read_text(), error

    return run


@pytest.fixture
def folder(cells, tmp_path):
    return shutil.copytree(cells, tmp_path / "mydata")


def empty(folder, names):
    for name in names:
        file = folder / "label" / f"{name:03d}.tif"
        tifffile.imwrite(file, np.zeros_like(tifffile.imread(file)))


def test_the_command(bundle_run, folder, tmp_path):
    """As a person types it: table, page, exit status."""
    page = str(tmp_path / "out" / "check.html")
    options = {"dataset_dir": str(folder), "check_page": page, "base_channels": 2, "depth": 2, "tile_size": 60}
    done = bundle_run("checking", "configs/train.json", **options)
    assert done.returncode == 0, done.stderr
    for words in ("ready to train", "size  ", "96 x 96 px", "touching another", "--depth 4", "--minutes 20", page):
        assert words in done.stdout
    html = (tmp_path / "out" / "check.html").read_text()
    assert len(re.findall("data:image/jpeg;base64,", html)) == 5
    assert not re.search(r'(src|href)="(?!data:)', html)
    empty(folder, range(5))
    done = bundle_run("checking", "configs/train.json", **options)
    assert done.returncode == 1
    assert "Not ready to train" in (tmp_path / "out" / "check.html").read_text()
    assert re.search(r"\nerror: .* cannot be trained on: None of the 5 labels marks an object", done.stderr)


def test_the_page_of_another_data_set_does_not_stay(check, folder, tmp_path):
    check()
    shutil.rmtree(folder / "label")
    with pytest.raises(FileNotFoundError):
        check(dataset_dir=str(folder))
    assert not (tmp_path / "check.html").exists()


def test_nothing_ends_the_command_before_the_page_of_an_earlier_check_is_gone(bundle_run, tmp_path):
    page = tmp_path / "check.html"
    page.write_text("Ready to train")
    done = bundle_run("checking", "configs/train.json", check_page=str(page), lr=1)
    assert done.returncode == 1
    assert "--optimizer#lr" in done.stderr
    assert not page.exists()


def test_training_images_without_objects_where_others_have_some(check, folder, monkeypatch):
    timed = []
    empty(folder, [0, 1])
    monkeypatch.setattr(checking, "_pace", lambda parser, few: timed.extend(few) or checking.Pace(0.5))
    out, _, error = check(dataset_dir=str(folder), validation=["004"], timed=True)
    assert "ready to train" in out
    assert not error
    assert [item["name"] for item in timed] == ["002", "003"]
    empty(folder, range(4))
    out, html, error = check(dataset_dir=str(folder), validation=["004"])
    assert "Not ready to train" in html
    assert "cannot be trained on: None of the 4 training labels marks an object" in error
    assert out.count("stop: ") == 1


@pytest.mark.parametrize("by_plan", [False, True])
def test_a_missing_label_is_one_more_finding(check, folder, by_plan):
    (folder / "label" / "003.tif").unlink()
    sizes = {"depth": "$@plan.depth", "tile_size": "$@plan.tile_size"} if by_plan else {}
    out, html, error = check(dataset_dir=str(folder), **sizes)
    told = f"1 image has no label of the same name in {folder / 'label'}: 003; annotate it"
    assert f"cannot be trained on: {told}" in error
    assert "stop: Files that do not fit. 1 image has no label" in out
    assert "Not ready to train" in html
    assert html.count("data:image/jpeg") == 4
    for page in (out, html):
        assert "4 of 5 usable" in page
        assert "Few images" not in page


def test_two_images_of_one_name_are_one_more_finding(check, folder):
    for name in ("001", "003"):
        shutil.copy(folder / "image" / f"{name}.tif", folder / "image" / f"{name}.tiff")
    out, html, error = check(dataset_dir=str(folder))
    told = "holds two files of one name, 001.tif and 001.tiff, 003.tif and 003.tiff, so that"
    assert told in error
    assert out.count("stop: ") == 1
    assert "Not ready to train" in html
    assert told in html


def test_labels_of_other_names_are_told_once(check, folder):
    for label in (folder / "label").iterdir():
        label.rename(label.with_stem(label.stem + "_mask"))
    out, html, error = check(dataset_dir=str(folder))
    assert "5 images have no label of the same name" in error
    assert "000_mask.tif seems to belong to 000.tif" in error
    assert out.count("stop: ") == 1
    assert "Not ready to train" in html


def test_a_label_without_image_and_one_of_another_number_of_slices(check, folder):
    (folder / "image" / "004.tif").unlink()
    label = tifffile.imread(folder / "label" / "002.tif")
    tifffile.imwrite(folder / "label" / "002.tif", np.stack([label, label, label]), photometric="minisblack")
    out, _, error = check(dataset_dir=str(folder), validation=1)
    assert f"1 label has no image of the same name in {folder / 'image'}: 004; put the image there" in error
    assert "1 file cannot be used: 002.tif: it has 3 slices" in error
    assert "3 of 4 usable" in out


def test_a_training_still_refuses_a_missing_label(workflow, folder):
    (folder / "label" / "003.tif").unlink()
    assert "1 image has no label of the same name" in said_by(workflow(dataset_dir=str(folder)).run)


def test_steps_of_a_network_with_auxiliary_classifiers_are_timed(check):
    out, _, error = check("networks/dcn.json", timed=True)
    assert "a step takes" in out
    assert not error


def test_advice_names_the_images_that_it_follows_from(check):
    out, html, _ = check(validation=1)
    assert "what follows for a training, from the 4 images that train:" in out
    assert "What follows for a training, from the 4 images that train" in html
    out, _, _ = check(validation=0)
    assert "what follows for a training:" in out


def test_advice_is_to_be_left_at_first_and_says_what_a_number_is(check):
    out, html, _ = check()
    for page in (" ".join(out.split()), html):
        assert "Leave the values of train.json alone at first: these are rules of thumb" in page
        assert "If the result is not good enough, add the options, or put configs/planned.json behind" in page
        assert re.search(r"a tenth of the median object, \d+ px in area; .* a training tries several sizes", page)
        assert re.search(r"objects are narrower than \d+ px", page)
    assert re.search(r"\d+ objects, \d+ px wide", html)


def test_it_says_which_images_validate(check):
    for page in check(validation=["001", "004"])[:2]:
        assert "3 images train, 2 validate: 001, 004" in page


def test_advice_says_which_values_are_set_already(check):
    (line,) = re.findall(r"--separate_touching#width .*", check()[0])
    assert "already set;" in line
    (line,) = re.findall(r"--separate_touching#width .*", check(**{"separate_touching#width": 5})[0])
    assert "already set;" not in line


def test_steps_of_this_machine(check, monkeypatch):
    monkeypatch.setattr(checking.MeasurePace, "__call__", lambda self: checking.Pace(0.5))
    out, html, error = check(timed=True)
    assert "a step takes 0.5 s here, so 20 minutes are about 2400 steps" in out
    assert "about 2400 steps" in html
    assert not error


def test_one_image(check, folder):
    for name in range(1, 5):
        for kind in ("image", "label"):
            (folder / kind / f"{name:03d}.tif").unlink()
    out, html, error = check(dataset_dir=str(folder))
    assert "--validation 0.2 needs at least 2 images, got 1: annotate more, or --validation 0 trains on all" in error
    assert "stop: No split." in out
    assert "No split" in html
    _, _, error = check(dataset_dir=str(folder), validation=0)
    assert not error


def test_validation_without_objects(check, folder):
    empty(folder, [2])
    out, _, error = check(dataset_dir=str(folder), validation=["002"], best_by="seg")
    assert "No object is in the image for validation (002), which cannot choose the best network" in error
    out, _, error = check(dataset_dir=str(folder), validation=["002"])
    assert "warning: Validation without objects" in out
    assert not error
    out, _, error = check(dataset_dir=str(folder), validation=["001"])
    assert "Validation without objects" not in out


def test_a_training_says_so_too(workflow, folder, caplog):
    empty(folder, [2])
    workflow(dataset_dir=str(folder), validation=["002"], max_epochs=1, samples_per_epoch=1).run()
    assert "none of the 1 validation images has an object" in caplog.text


def test_a_training_without_validation_says_nothing(workflow, caplog):
    workflow(validation=0, max_epochs=1, samples_per_epoch=1).run()
    assert "has an object" not in caplog.text


def test_files_that_do_not_fit(check, folder):
    file = folder / "label" / "003.tif"
    tifffile.imwrite(file, tifffile.imread(file)[:90].T)
    _, html, error = check(dataset_dir=str(folder))
    assert re.search(r"1 file cannot be used: 003\.tif: label and image must have one size \(x, y\), got", error)
    assert "Files that do not fit" in html


def test_files_are_grouped_by_what_is_wrong_with_them(check, folder):
    for name in ("000", "001", "004"):
        label = tifffile.imread(folder / "label" / f"{name}.tif").astype(np.uint8)
        (folder / "label" / f"{name}.tif").unlink()
        Image.fromarray(label * 9).save(folder / "label" / f"{name}.jpg", quality=30)
    out, _, error = check(dataset_dir=str(folder))
    assert "3 files cannot be used: 000.jpg, 001.jpg, 004.jpg: JPEG has changed its label numbers" in error
    assert error.count("JPEG has changed") == 1
    assert "2 of 5 usable" in out


def test_the_same_image_in_training_and_validation(check, folder):
    for kind in ("image", "label"):
        shutil.copy(folder / kind / "000.tif", folder / kind / "copy.tif")
    _, _, error = check(dataset_dir=str(folder), validation=["copy"])
    assert "validation has 1 of 1 images that training has too" in error


@pytest.fixture(scope="module")
def sheet(cells):
    from tests.data.test_doctor import READ

    return doctor.measure(datalist(cells, "folder")[0], READ), READ


def test_a_page_of_a_thousand_images_is_small_and_has_the_worst_first(sheet, tmp_path):
    one, read = sheet
    sheets = [dataclasses.replace(one, item={**one.item, "name": f"i{number}"}) for number in range(1000)]
    sheets[700] = dataclasses.replace(sheets[700], sharpness=9 * one.sharpness)
    findings = [
        Finding("warning", "Labels turned", "<b>text</b>", ("i900", "i901", "i902", "i903"), {"turn": 4}),
        Finding("note", "Empty labels", "text", ("i500",)),
    ]  # two of one title, each with pictures of its own
    findings.insert(1, Finding("warning", "Labels turned", "text", ("i800",), {"turn": 2}))
    reads = []
    page = CheckPage("mydata", [("images", "1000")], findings, [], sheets)
    write_page(page, tmp_path / "page.html", lambda item: reads.append(item["name"]) or read(item))
    html = (tmp_path / "page.html").read_text()
    assert reads[:8] == ["i800", "i900", "i901", "i902", "i903", "i500", "i700", "i0"]
    assert re.findall(r"<b>(i\d+)</b>: as it is", html) == ["i900", "i901", "i902", "i800"]
    assert "48 of 1000 images: those of the findings first" in html
    assert html.count("data:image/jpeg") == 48 + 2 * 4
    assert len(html) < 3e6
    assert "the first 12 are finer" in html
    assert html.count('class="view"') == 48
    assert html.count('class="view pair"') == 4
    assert f'alt="i800, with outlines of {one.objects} objects"' in html
    assert 'alt="i900, label as it would fit"' in html
    assert 'alt=""' not in html
    assert 'classList.toggle("large")' in html
    assert "&lt;b&gt;text" in html
    assert "ready to train, after a look at 2 points" in html.lower()


def test_the_first_pictures_show_a_large_image_finely(sheet, tmp_path):
    one, _ = sheet
    pixels = np.random.RandomState(0).randint(0, 255, (1, 900, 800)).astype(np.float32)
    loaded = {"image": pixels, "label": np.ones((1, 900, 800), np.int32)}
    sheets = [dataclasses.replace(one, item={**one.item, "name": f"i{number}"}) for number in range(13)]
    write_page(CheckPage("mydata", [("images", "13")], [], [], sheets), tmp_path / "page.html", lambda item: loaded)
    html = (tmp_path / "page.html").read_text()
    pictures = [base64.b64decode(text) for text in re.findall(r'data:image/jpeg;base64,([^"]*)"', html)]
    assert [Image.open(io.BytesIO(picture)).size for picture in pictures] == [(900, 800)] * 12 + [(300, 266)]
    assert "--ratio: 1.125" in html


def plan_for(sheet, areas, side=512):
    areas = np.asarray(areas)
    return plan_of([dataclasses.replace(sheet, size=(side, side), areas=areas, whole=np.ones(len(areas), bool))])


def area(diameter):
    return np.pi * diameter**2 / 4


def test_the_plan_goes_by_the_size_of_the_objects(sheet):
    one, _ = sheet
    small, middle, large, huge = (plan_for(one, [area(d)] * 9) for d in (10, 24, 120, 240))
    assert [each.depth for each in (small, middle, large, huge)] == [4, 4, 4, 5]
    assert [each.tile_size for each in (small, middle, large)] == [380, 380, 428]
    assert [each.border_sigma for each in (small, middle, large)] == [1.5, 4.0, 5.0]
    assert [each.ridge for each in (small, middle)] == [1, 2]
    assert [each.min_size for each in (small, large)] == [7, 1130]
    assert plan_for(one, [area(24)] * 9, side=96).tile_size == 284
    beyond = plan_for(one, [area(500)], side=2000)
    assert "scale the images down" in beyond.advice[0].why
    for plan in (small, middle, large, huge):
        from bundle.geometry import ValidGeometry

        assert ValidGeometry(plan.depth).is_valid(plan.tile_size)
    with pytest.raises(ValueError, match="nothing to plan for"):
        plan_for(one, [])


def test_a_training_takes_its_sizes_from_the_plan(workflow, cells):
    from tests.data.test_doctor import READ

    flow = workflow("planned.json", depth="$@plan.depth", tile_size="$@plan.tile_size")
    plan = plan_of_data(flow.parser.get_parsed_content("train#items"), READ)
    found = {
        name: flow.parser.get_parsed_content(name)
        for name in ("depth", "tile_size", "weight_map#sigma", "separate_touching#width")
    }
    assert list(found.values()) == [plan.depth, plan.tile_size, plan.border_sigma, plan.ridge]


@pytest.mark.nightly
def test_a_training_by_the_plan_runs(python_m, cells, tmp_path):
    """All that a training checks before it starts, among them the tile, from values that images tell."""
    files = "['configs/train.json','configs/planned.json']"
    short = ("--max_epochs", "1", "--samples_per_epoch", "2", "--base_channels", "2")
    short = (*short, "--output_dir", tmp_path, "--model_file", tmp_path / "model.pt")
    done = python_m("monai.bundle", "run", "training", "--config_file", files, "--dataset_dir", cells, *short)
    assert done.returncode == 0, done.stdout + done.stderr

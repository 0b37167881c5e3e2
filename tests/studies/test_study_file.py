"""Study files: what they say, and what is refused in them."""

import json
from pathlib import Path

import pytest

from bundle.studies.definition import Variant
from bundle.studies.study_file import read_study
from bundle.studies.trial import StudyPaths, Trial
from tests.conftest import ROOT
from tests.studies.conftest import STUDY

GRID = {"name": "kernels", "option": "network_def#kernels", "values": [[4, 8], [2, 8]]}


def test_a_grid_makes_a_variant_of_each_value_and_the_first_is_the_reference(study_file):
    study = read_study(study_file(grid=GRID, seeds=[0]))
    assert study.choose() == [(variant, 0, None) for variant in ("4-8", "2-8", "all", "border")]
    assert study.reference == "4-8"
    assert study.variants["2-8"].options == {"network_def#kernels": [2, 8]}
    assert study.variants["2-8"].label == "kernels 2, 8"
    assert list(read_study(study_file(grid=GRID, variants=None)).variants) == ["4-8", "2-8"]
    more = study.with_values([[6, 8], [2, 8]])
    assert list(more.variants) == ["4-8", "2-8", "6-8", "all", "border"]


def test_the_variants_alternate_and_the_seeds_follow_one_another(study_file):
    assert read_study(study_file()).choose() == [
        (variant, seed, None) for seed in (0, 1) for variant in ("all", "border")
    ]


def test_every_fold_is_run_with_every_seed(study_file):
    study = read_study(study_file(folds=[2, 0], variants={"all": {}}))
    assert study.choose() == [("all", 0, 2), ("all", 0, 0), ("all", 1, 2), ("all", 1, 0)]
    trials = [Trial(study, StudyPaths("tiny", Path("runs")), *each) for each in study.choose(seeds=[1])]
    assert [trial.name for trial in trials] == ["tiny-all-f2-s1", "tiny-all-f0-s1"]


def test_some_variants_and_other_seeds(study_file):
    study = read_study(study_file())
    assert study.choose(["border"], [7, 3]) == [("border", 7, None), ("border", 3, None)]


def test_only_the_reference_has_further_ttas(study_file):
    evaluation = {**STUDY["evaluation"], "tta": ["d4", "none"], "reference_tta": ["paper7", "none"]}
    study = read_study(study_file(evaluation=evaluation))
    assert study.reference == "all"
    assert study.tta_of("all") == ("d4", "none", "paper7")
    assert study.tta_of("border") == ("d4", "none")


def test_what_a_variant_lacks_is_that_of_the_same_name_in_another_study(study_file):
    overlay = "configs/small.json"
    first = {"label": "First", "config_files": [overlay], "options": {"max_epochs": 3}}
    shared = study_file("shared", variants={"first": first, "second": {}})
    own = study_file(variants_of="shared", variants={"second": {}, "first": {"options": {"max_epochs": 4}}, "new": {}})
    with pytest.raises(FileNotFoundError, match=r"shared\.json does not exist; there are .*tiny\.json"):
        read_study(own)
    shared.rename(own.with_name("shared.json"))
    variants = read_study(own).variants
    assert list(variants) == ["second", "first", "new"]
    assert variants["first"] == Variant("first", "First", (overlay,), {"max_epochs": 4})


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"seed": [0]}, "unknown entry 'seed': did you mean seeds"),
        ({"metrics": None}, "study tiny lacks metrics"),
        ({"seeds": [0, 0]}, "seeds of study tiny must be a list of different integers of at least 0"),
        ({"seeds": [True]}, "seeds of study tiny must be a list of different integers"),
        ({"folds": [-1]}, "folds of study tiny must be a list of different integers"),
        ({"variants": {}}, "variants of study tiny must be a mapping with at least one entry"),
        ({"variants_of": 3}, "variants_of of study tiny must be a text, got 3"),
        ({"variants_of": "../a"}, "a study must be named by letters, digits"),
        ({"variants_of": "tiny"}, "variants_of of study tiny names tiny, which takes its own from another"),
        ({"variants": {"a/b": {}}}, "a variant must be named by letters, digits"),
        ({"variants": {"all": {"option": {}}}}, "variant all of study tiny has an unknown entry 'option': did you"),
        ({"options": {"seed": 1}}, "option 'seed' cannot be one of study tiny"),
        ({"variants": {"all": {"options": {"tags": {}}}}}, "option 'tags' cannot be one of variant all of study tiny"),
        ({"config_files": "configs/train.json"}, "config_files of study tiny must be a list of texts"),
        ({"evaluation": {"part": "all"}}, "evaluation of study tiny lacks config_files, tta"),
        ({"variants": None}, "study tiny lacks variants"),
        ({"afterwards": "maps"}, r"has an entry .afterwards.: remove it; .*python -m bundle.studies.feature_maps"),
        ({"grid": {"name": "k"}}, "grid of study tiny lacks option, values"),
        ({"grid": {**GRID, "values": [4, 8]}}, r"kernels must be a list of lists of integers.*got \[4, 8\]"),
        ({"grid": {**GRID, "values": [[4, 0]]}}, "kernels must be a list of lists of integers of at least 1"),
        ({"grid": {**GRID, "values": []}}, "kernels must be a list of lists of integers"),
        ({"grid": {**GRID, "option": "seed"}}, "option 'seed' cannot be one of grid of study tiny"),
        ({"variants": {"all": {"label": 16}}}, "label of variant all of study tiny must be a text, got 16"),
        ({"_desc_": ["two", "lines"]}, "_desc_ of study tiny must be a text"),
        ({"metrics": {"iou": 1}}, "label of metric iou of study tiny must be a text"),
        ({"grid": GRID, "variants": {"4-8": {}}}, "has '4-8', which is also a value of its grid"),
    ],
)
def test_what_is_refused(entries, message, study_file):
    with pytest.raises(ValueError, match=message):
        read_study(study_file(**entries))


def test_an_unknown_variant_is_refused_with_the_nearest(study_file):
    with pytest.raises(ValueError, match="no variant 'boarder': did you mean border"):
        read_study(study_file()).choose(["all", "boarder"])


def test_a_file_that_is_missing_or_no_json(tmp_path, study_file):
    path = study_file()
    with pytest.raises(FileNotFoundError, match=r"there are .*tiny\.json"):
        read_study(path.with_name("tony.json"))
    path.write_text("{,}")
    with pytest.raises(ValueError, match="is not JSON"):
        read_study(path)


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "studies").glob("*.json")), ids=lambda path: path.stem)
def test_the_studies_here_name_files_that_are_there(path):
    study = read_study(path)
    files = [file for variant in study.variants.values() for file in variant.config_files]
    for file in (*study.config_files, *files, *study.evaluation_files):
        assert (ROOT / file).is_file(), file
    assert json.loads(path.read_text())["_desc_"]

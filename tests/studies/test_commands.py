"""The command lines of a study say what it says."""

from pathlib import Path

from fire.parser import DefaultParseValue
from hypothesis import given
from hypothesis import strategies as st
from monai.bundle import ConfigParser

from bundle.console import require_known_options
from bundle.studies.commands import argument
from bundle.studies.study_file import read_study
from bundle.studies.trial import StudyPaths, Trial
from tests.studies.conftest import STUDY

PATHS = StudyPaths("tiny", Path("runs"), "data")
SCALARS = st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


def trials(study):
    return [Trial(study, PATHS, *each) for each in study.choose()]


@given(SCALARS | st.lists(SCALARS | st.none()) | st.dictionaries(st.text(), SCALARS | st.none()))
def test_every_value_survives_the_command_line(value):
    read = DefaultParseValue(argument(value))
    assert read == value
    assert type(read) is type(value)
    assert not argument(value).startswith("--")


def test_none_is_an_expression_for_monai_leaves_out_none():
    assert ConfigParser({"norm": DefaultParseValue(argument(None))}).get_parsed_content("norm") is None


def test_what_a_variant_says_comes_last(study_file):
    study = read_study(study_file()).with_options({"weight_map#w0": 3.0, "network_def#norm": None})
    first, second, *_ = trials(study)
    assert first.training().parser()["weight_map"]["w0"] == 3.0
    config = second.training().parser()
    assert config["weight_map"]["w0"] == 0.0
    assert config["network_def"]["norm"] is None
    assert (config["seed"], config["fold"], config["dataset_dir"]) == (0, None, "data")


def test_the_tags_make_child_runs(study_file):
    study = read_study(study_file(folds=[1]))
    run = trials(study)[-1]
    tags = run.training("the study's").parser()["tracker"]["tags"]
    mine = {"study": "tiny", "variant": "border", "seed": "1", "fold": "1"}
    assert tags == {**mine, "stage": "training", "mlflow.parentRunId": "the study's"}
    command = run.evaluation("none", "the training's")
    parents = {"mlflow.parentRunId": "the training's", "training_run_id": "the training's"}
    assert command.parser()["tracker"]["tags"] == {**mine, "stage": "evaluation", "tta": "none", **parents}


def test_an_evaluation_measures_the_training(study_file):
    study = read_study(study_file(folds=[2])).with_options({"network_def#dropout": 0.1})
    run = trials(study)[0]
    command = run.evaluation("d4")
    config = command.parser()
    assert config["checkpoint"] == str(Path("runs", run.name, "best.pt"))
    assert (config["part"], config["tta"], config["fold"], config["held_out"]) == ("held_out", "d4", 2, 1)
    # the checkpoint tells what the network is: an option of it would be refused
    assert isinstance(config["network_def"], str)
    require_known_options(command.words("run"))


def test_what_the_evaluations_files_say_is_not_taken_back(study_file, tmp_path):
    gold = tmp_path / "gold.json"
    gold.write_text('{"cells#threshold": 0.7}')
    files = ["configs/evaluate.json", str(gold)]
    options = {**STUDY["options"], "cells#threshold": 0.3, "cells#min_size": 9}
    study = read_study(
        study_file(options=options, evaluation={"config_files": files, "part": "held_out", "tta": ["none"]})
    )
    run = trials(study)[0]
    config = run.evaluation("none").parser()
    assert config["cells#threshold"] == 0.7
    assert "min_size" not in config["cells"]  # the network's card has it
    assert run.training().parser()["cells#threshold"] == 0.3

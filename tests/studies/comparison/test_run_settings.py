"""Which parameters count as settings, and which of them differ."""

from __future__ import annotations

from bundle.studies.comparison.mlflow_runs import Run, _current
from bundle.studies.comparison.run_settings import differing, measured_images, provenance, settings


def run(name: str = "a", tags: dict[str, str] | None = None, **params: str) -> Run:
    told = {key.replace("__", "."): value for key, value in params.items()}
    return Run(f"id of {name}", name, "FINISHED", 0.0, 1.0, told, tags or {}, {})


def test_bookkeeping_and_provenance_are_no_settings():
    assert settings(
        run(
            lr="0.1",
            epoch_length="4",
            config__run_name="a",
            config__tracker___target_="MLflowTracker",
            config__dataset_dir__root="data",
            provenance__git_commit="c0de",
            config__augment__0__sigma="3",
        )
    ) == {"lr": "0.1", "augment.0.sigma": "3"}


def test_a_short_name_stands_for_the_entry_that_the_config_says():
    told = settings(
        run(
            lr="0.1",
            cells__threshold="0.4",
            w0="10",
            config__tracker__params__lr="@optimizer#lr",
            config__tracker__params__cells="@cells",
            config__optimizer__lr="0.1",
            config__optimizer__lr_decay="0.5",  # begins like it, and is another one
            config__cells__threshold="0.4",
            config__weigh__1__w0="10",  # equal by chance only: nothing says that w0 is this
        )
    )
    assert told == {"lr": "0.1", "cells.threshold": "0.4", "w0": "10", "optimizer.lr_decay": "0.5", "weigh.1.w0": "10"}


def test_an_evaluation_has_the_settings_of_its_training():
    training = run(lr="0.1", seed="3", config__weigh__1__w0="20", precision="bf16")
    evaluation = run(
        checkpoint="x.pt",
        part="all",
        seed="0",
        max_epochs="1",
        averaging="d4",
        config__weigh__1__w0="10",
        precision="fp32",
    )
    assert settings(evaluation, training) == {
        "lr": "0.1",
        "seed": "3",
        "weigh.1.w0": "20",
        "evaluation.weigh.1.w0": "10",
        "precision": "bf16",
        "evaluation.precision": "fp32",
        "part": "all",
        "averaging": "d4",
    }
    assert settings(evaluation)["checkpoint"] == "x.pt"  # all that is known of its training


def test_differing():
    assert differing([{"a": "1", "b": "2", "c.d": "3", "seed": "0"}, {"a": "1", "b": "4", "seed": "1"}]) == [
        "b", "c.d", "seed"
    ]  # fmt: skip
    assert differing([{"a": "1"}]) == []
    same = [{"w": value, "evaluation.w": value} for value in "12"]
    assert differing(same) == ["w"]
    assert differing([*same, {"w": "1", "evaluation.w": "2"}]) == ["w", "evaluation.w"]


def test_runs_measured_the_same_images_if_data_and_split_are_the_same():
    def seen(**params: str) -> tuple[str | None, ...]:
        return measured_images(run(**{"provenance__data_fingerprint": "f00d", "config__validation": "3", **params}))

    assert seen() == seen(lr="0.1")
    assert seen() != seen(provenance__data_fingerprint="beef")
    assert seen() != seen(fold="1")
    assert seen() != seen(config__validation="4")
    held_out = {"checkpoint": "x.pt", "part": "held_out"}
    assert seen(**held_out) == seen(**held_out, config__validation="4")  # which is taken from the others
    assert seen(**held_out) != seen(**held_out, config__held_out="4")
    every = {"checkpoint": "x.pt", "part": "all"}
    assert seen(**every) == seen(**every, config__held_out="4")


def test_provenance_that_differs():
    one = run("a", provenance__package__torch="2.6", provenance__python="3.11", provenance__config_sha256="1")
    other = run("b", provenance__package__torch="2.7", provenance__python="3.11", provenance__config_sha256="2")
    assert provenance([one, other]) == {"torch": {"2.6": ["a"], "2.7": ["b"]}}


def test_images_named_in_a_list_are_told_apart():
    def seen(*names: str) -> tuple[str | None, ...]:
        return measured_images(run(**{f"config__validation__{i}": name for i, name in enumerate(names)}))

    assert seen("a", "b") == seen("a", "b")
    assert seen("a", "b") != seen("c", "d")


def test_parameters_of_an_earlier_version_have_todays_names():
    assert _current({"averaging": "d4", "freeze_norm": "1.0", "lr": "0.02"}) == {
        "tta": "d4",
        "freeze_norm_after": "None",
        "lr": "0.02",
    }
    assert _current({"freeze_norm": "0.5"}) == {"freeze_norm_after": "0.5"}
    assert _current({"tta": "none", "averaging": "d4", "x": "null"}) == {"tta": "none", "x": "null"}

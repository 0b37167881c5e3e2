"""What is logged at the start is what MLflow takes, and all of it."""

from __future__ import annotations

import logging
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.utils.validation import _validate_length_limit, _validate_param_name

from bundle.tracking.mlflow_run import new_run, open_run
from bundle.tracking.mlflow_store import Writer, describe, legal, sqlite_uri
from bundle.tracking.rows import Row


def test_names_become_legal_and_stay_apart():
    long = "n" * 251
    given_ = [("a.b", "1"), ("a&b", "2"), ("a_b", "3"), ("a?b", "4"), ("x//y", "5"), ("x/y", "6"), ("/x", "7")]
    assert legal([*given_, (long, "8"), (long + "!", "9" * 6001)]) == {
        "a.b": "1",
        "a_b": "2",
        "a_b_2": "3",
        "a_b_3": "4",
        "x__y": "5",
        "x/y": "6",
        "_x": "7",
        "n" * 250: "8",
        "n" * 248 + "_2": "9" * 6000,
    }


@given(st.lists(st.tuples(st.text(max_size=300), st.text(max_size=5)), max_size=20))
def test_mlflow_takes_every_config_path_and_none_is_lost(entries):
    found = legal((f"config.{name}", value) for name, value in entries)
    assert list(found.values()) == [value for _, value in entries]
    for name in found:
        _validate_param_name(name)
        _validate_length_limit("name", 250, name)


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    return sqlite_uri(tmp_path_factory.mktemp("store"))


@pytest.mark.parametrize("count", [1, 100, 101, 350])
def test_any_number_of_parameters_is_logged_and_on_resuming_of_changed_ones(uri, count):
    client, run_id = open_run(uri, "many", "first", new_run())
    describe(client, run_id, [(f"p{i}", "old") for i in range(count)], [], None)
    client, _ = open_run(uri, "many", "second", run_id)
    describe(client, run_id, [(f"p{i}", "new") for i in range(count)], [("who", "me")], None)
    run = MlflowClient(uri).get_run(run_id)
    assert run.data.params == {f"p{i}": "old" for i in range(count)}
    assert {f"resumed.p{i}": "new" for i in range(count)}.items() <= run.data.tags.items()
    assert run.data.tags["who"] == "me"


def test_one_name_that_mlflow_refuses_does_not_lose_the_others(tmp_path):
    uri = sqlite_uri(tmp_path)
    client, run = open_run(uri, "e", "r", new_run())
    writer = Writer(tmp_path / "history.csv", client, run, uri)
    writer.queue.extend(Row(1.0, step, 1, name, 0.5) for step, name in enumerate(("train/loss", "val/dice (%)", "b")))
    writer.start()
    writer.stop()
    assert set(client.get_run(run).data.metrics) == {"train/loss", "val/dice ___", "b"}


def test_an_end_that_did_not_reach_the_store_is_said(tmp_path, caplog):
    uri = sqlite_uri(tmp_path)
    client, run = open_run(uri, "e", "r", new_run())
    writer = Writer(tmp_path / "history.csv", client, run, uri)
    writer.queue.append(lambda client, run_id: 1 / 0)
    writer.start()
    with caplog.at_level(logging.WARNING):
        writer.stop()
    assert "the end of the run, or files of it, did not reach" in caplog.text


def test_a_file_that_is_added_while_the_store_is_written_is_logged(tmp_path):
    told: list[str] = []
    writer = Writer(tmp_path / "history.csv", object(), "run", "uri")

    class Between(list):
        """Another thread is at work just before an element is added."""

        def append(self, call):
            self.other = threading.Thread(target=writer._send)
            self.other.start()
            self.other.join(0.5)
            super().append(call)

    writer._calls = between = Between()
    writer.queue.append(lambda client, run_id: told.append(run_id))
    writer.drain()
    between.other.join()
    assert told == ["run"]

"""The choice of cell options on the images of an evaluator, and at the end of a training."""

import json
import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events

from bundle.cells import AutoCellOptions, CellOptions
from bundle.model import TrainedNetwork, checkpoints
from bundle.model.card import write_card
from bundle.training import ChooseAtEnd, ChooseCells, choose_cells
from bundle.training.cell_search import search_options
from bundle.training.choose_cells import images_to_choose_on
from tests.conftest import table
from tests.training.test_cell_search import PAIRS, discs

AUTO = AutoCellOptions(threshold="auto", split_by="auto", split_distance="auto", min_size=3)


def choose(folder, images, **options):
    def output(_, image):
        probability, truth = (torch.from_numpy(np.array(array))[None] for array in image)
        return [{"probability_cell": probability, "truth": truth}]

    choice = ChooseCells(folder, **{"options": AUTO, **options})
    engine = Engine(output)
    choice.attach(engine)
    engine.run(images)
    return choice


def test_the_choice_is_written_as_an_overlay(tmp_path):
    choice = choose(tmp_path, [PAIRS])
    assert choice.chosen == {None: search_options([PAIRS], AUTO.fixed(), AUTO.auto)[0].options}
    assert choice.chosen[None] != AUTO.fixed()
    overlay = json.loads((tmp_path / "cells.json").read_text())
    assert overlay == {f"cells#{name}": value for name, value in choice.chosen[None].told.items()}
    assert overlay["cells#min_size"] == 3
    assert choice.in_card() == {
        "cells": choice.chosen[None].told,
        "cells_chosen": {"images": {"validation": 1}, "cells": 7},
    }
    rows = table(tmp_path / "choice.csv")
    assert float(rows[0]["threshold"]) == overlay["cells#threshold"]
    assert len({tuple(row.values()) for row in rows}) == len(rows) == 3


@pytest.mark.parametrize(("images", "told"), [(4, True), (5, False)])
def test_who_has_few_images_is_told_that_thresholds_were_not_chosen(images, told, tmp_path, caplog):
    free = AutoCellOptions(threshold="auto", low_threshold="auto", split_by="auto")
    with caplog.at_level("INFO"):
        choose(tmp_path, [PAIRS] * images, options=free)
    assert ("thresholds are chosen on 5 images or more only" in caplog.text) is told


def test_training_images_count_until_there_are_enough_cells(tmp_path):
    two = discs([(30, 20), (30, 60)])
    # 10 cells validate: 20 of the training images make 50
    choice = choose(tmp_path, [two] * 60, validating=5)
    assert choice.told == {"images": {"validation": 5, "training": 20}, "cells": 50}
    # with enough of them no training image counts, and all of them do
    assert choose(tmp_path, [two] * 60, validating=30).told == {"images": {"validation": 30}, "cells": 60}
    assert choose(tmp_path, [two] * 3, validating=0).told == {"images": {"training": 3}, "cells": 6}


def test_of_large_images_the_middle_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(choose_cells, "_MOST", 3000)
    image = discs([(30, 20), (30, 60)])  # 5400 px
    choice = choose(tmp_path, [image] * 4)
    assert choice.told == {"images": {"validation": 1}, "cells": 2}
    assert choose_cells._middle(np.arange(100).reshape(10, 10), 25).tolist() == [
        list(range(10 * row + 2, 10 * row + 7)) for row in range(2, 7)
    ]
    assert choose_cells._middle(np.zeros((3, 4, 5)), 60).shape == (3, 4, 5)


def test_the_first_training_images_are_spread_over_all():
    items = [{"image": number} for number in range(100)]
    for chosen in (images_to_choose_on([{"image": "v"}], items)[1:], images_to_choose_on(items, [])):
        order = [item["image"] for item in chosen]
        assert sorted(order) == list(range(100))
        for count in (3, 5, 10):
            gaps = np.diff([0, *sorted(order[:count]), 99])
            assert gaps.max() <= 2.7 * 100 / count
    assert images_to_choose_on([{"image": "v"}], items)[0] == {"image": "v"}


def test_nothing_annotated(tmp_path, caplog):
    empty = PAIRS._replace(truth=np.zeros_like(PAIRS.truth))
    with pytest.raises(ValueError, match="no image has an annotated cell"):
        choose(tmp_path, [empty])
    # a training that is complete is not lost
    with caplog.at_level(logging.WARNING):
        assert choose(tmp_path, [empty], validating=1).in_card() == {}
    assert "no image has an annotated cell" in caplog.text
    assert not list(tmp_path.iterdir())


def test_the_card_has_the_choice_before_anything_is_published(tmp_path):
    network = torch.nn.Conv2d(1, 2, 1)
    checkpoints.write(tmp_path / "best.pt", network.state_dict())
    write_card(tmp_path / "card.json", {"cells": AUTO.told})
    choice = ChooseCells(tmp_path, AUTO, validating=1)
    evaluator = SimpleNamespace(run=lambda: choice.chosen.update({None: CellOptions(threshold=0.7)}))
    several = torch.nn.DataParallel(network)
    trainer = Engine(lambda *_: None)
    ChooseAtEnd(tmp_path, several, evaluator, choice).attach(trainer)
    published = []
    trainer.add_event_handler(
        Events.COMPLETED, lambda: published.append(TrainedNetwork(tmp_path / "best.pt").cell_options().threshold)
    )
    trainer.run([0])
    assert published == [0.7]
    assert evaluator.network is network  # of several processes the others are not there to answer a wrapper


def test_of_each_class_only_what_was_chosen_or_given_is_told(tmp_path):
    probability, truth = (torch.from_numpy(np.array(array))[None] for array in PAIRS)
    item = {"probability": torch.cat([1 - probability, probability, 0 * probability]), "truth": truth}
    item["true_classes"] = (truth > 0).long()
    given = {"Round": {"threshold": 0.4, "fill_holes": False}, "rod": {"min_size": 7}}
    choice = ChooseCells(tmp_path, AUTO, given, names=("background", "round", "rod"))
    engine = Engine(lambda *_: [item])
    choice.attach(engine)
    engine.run([0])
    chosen = {name: choice.chosen["round"].told[name] for name in AUTO.auto}
    assert chosen["threshold"] == 0.4
    expected = {"cells_of": {"round": {**chosen, "fill_holes": False}, "rod": {"min_size": 7}}}
    assert json.loads((tmp_path / "cells.json").read_text()) == choice.overlay() == expected


def test_nothing_is_chosen_on_held_out_images(tmp_path):
    with pytest.raises(ValueError, match="part must be 'validation' to choose on, got 'held_out'"):
        ChooseCells(tmp_path, AUTO, part="held_out")


@pytest.mark.slow
def test_a_training_chooses_at_its_end_and_all_use_it(workflow, tmp_path):
    auto = {"cells#threshold": "auto", "cells#min_size": "auto", "max_epochs": 1, "val_interval": 1}
    workflow(run_name="fixed", **{**auto, "cells#threshold": 0.5, "cells#min_size": 20}).run()
    workflow(run_name="chosen", **auto).run()
    runs = tmp_path / "runs"
    # the network itself is the same
    before, after = (torch.load(runs / name / "last.pt", weights_only=True) for name in ("fixed", "chosen"))
    assert all(torch.equal(before["network"][name], after["network"][name]) for name in before["network"])
    assert not (runs / "fixed" / "cells.json").exists()
    trained = TrainedNetwork(runs / "chosen" / "best.pt")
    overlay = json.loads((runs / "chosen" / "cells.json").read_text())
    assert trained.cell_options() == CellOptions(**{name.split("#")[1]: value for name, value in overlay.items()})
    assert trained.card["cells_chosen"]["cells"] > 0
    assert TrainedNetwork(runs / "fixed" / "best.pt").cell_options() == CellOptions(min_size=20, close_gaps=1.0)

    # an evaluation reads cells as the card says
    options = {"run_id": "evaluating", "checkpoint": str(runs / "chosen" / "best.pt"), "part": "validation"}
    read = {name: "$@trained.cell_options()." + name.split("#")[1] for name in ("cells#threshold", "cells#min_size")}
    flow = workflow("evaluate.json", evaluation_dir=str(tmp_path / "out"), **options, **read)
    assert flow.parser.get_parsed_content("cells") == trained.cell_options()

    # killed before the choice, it chooses the same
    files = {name: (runs / "chosen" / name).read_bytes() for name in ("cells.json", "choice.csv")}
    for name in files:
        (runs / "chosen" / name).unlink()
    workflow(run_name="chosen", resume=True, **auto).run()
    assert {name: (runs / "chosen" / name).read_bytes() for name in files} == files

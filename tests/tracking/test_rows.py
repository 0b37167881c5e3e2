"""Numbers are taken at the moment they are recorded, and read only later."""

from __future__ import annotations

import math
import warnings

import torch
from monai.data import MetaTensor

from bundle.tracking.rows import loss_of, number, scalars, snapshot


def test_a_metric_is_taken_without_reading_it():
    # the values of a tensor on the device "meta" cannot be read: a look at them fails
    away = torch.ones(3, device="meta")
    assert [(name, value.device.type) for name, value in scalars({"dice": away, "all": {"iou": away[0]}})] == [
        ("dice_0", "meta"),
        ("dice_1", "meta"),
        ("dice_2", "meta"),
        ("all/iou", "meta"),
    ]
    assert loss_of([{"loss": away[0]}]).device.type == "meta"
    assert math.isnan(number(away[0]))


def test_names_and_numbers_of_tensors():
    values = {
        "half": torch.tensor([0.5, 0.25], dtype=torch.bfloat16),
        "one": torch.tensor([[2]]),
        "flag": torch.tensor(True),
        "meta": MetaTensor([3.0]),
        "none": torch.zeros(0),
        "complex": torch.tensor(1j),
    }
    found = [(name, number(value)) for name, value in scalars(values)]
    assert found == [("half_0", 0.5), ("half_1", 0.25), ("one", 2.0), ("flag", 1.0), ("meta", 3.0)]


def test_what_changes_in_place_later_keeps_its_value():
    rate = torch.tensor(0.5)
    taken = [snapshot(rate), loss_of({"loss": rate}), loss_of(rate), *(value for _, value in scalars({"lr": rate}))]
    rate.fill_(0.1)
    assert [number(value) for value in taken] == [0.5] * 4


def test_a_graph_is_left_behind_without_a_warning():
    loss = torch.ones(1, requires_grad=True).square().sum()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        taken = [loss_of(loss), loss_of({"loss": loss}), *(value for _, value in scalars({"loss": loss}))]
        assert [number(value) for value in taken] == [1.0] * 3
    assert not any(value.requires_grad for value in taken)


def test_what_is_no_number_is_nan():
    assert math.isnan(number("text"))
    assert math.isnan(number(None))
    assert math.isnan(number(torch.ones(2)))

"""The learning rate rises, falls to 0, and survives a change of length."""

import pytest
import torch

from bundle.training.schedules import WarmupCosine


def rates(schedule, optimizer, steps):
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def sgd():
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)


def test_up_then_down_to_zero():
    optimizer = sgd()
    found = rates(WarmupCosine(optimizer, total_steps=100, warmup=0.1), optimizer, 105)
    assert found[0] == pytest.approx(0.5 / 11)
    assert max(found) == found[10] == 0.5
    assert found[:11] == sorted(found[:11])
    assert found[10:] == sorted(found[10:], reverse=True)
    assert found[55] == pytest.approx(0.25)
    assert found[100:] == [0.0] * 5


def test_a_resumed_schedule_takes_the_new_length():
    optimizer = sgd()
    first = WarmupCosine(optimizer, total_steps=10)
    rates(first, optimizer, 10)
    resumed = sgd()
    longer = WarmupCosine(resumed, total_steps=20)
    longer.load_state_dict(first.state_dict())
    resumed.load_state_dict(optimizer.state_dict())
    reference = sgd()
    expected = rates(WarmupCosine(reference, total_steps=20), reference, 20)
    assert rates(longer, resumed, 10)[1:] == pytest.approx(expected[11:])


@pytest.mark.parametrize(
    ("arguments", "message"), [((0,), "total_steps must be at least 1"), ((5, 1.0), "warmup must lie")]
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        WarmupCosine(sgd(), *arguments)

"""The loss of auxiliary classifiers: its sum, its decay, and that a resumed training goes on with the same weight."""

import pytest
import torch
from ignite.engine import Engine, Events

from bundle.model import checkpoints
from bundle.training.auxiliary_loss import AuxiliaryLoss
from bundle.training.loss import PixelWeightedCrossEntropy
from tests.test_training import Killed


@pytest.fixture
def maps() -> tuple[torch.Tensor, torch.Tensor]:
    """Stacked logits of a network and two auxiliary classifiers, and a target with weights."""
    torch.manual_seed(0)
    classes, weights = torch.randint(0, 3, (2, 1, 5, 4)).float(), torch.rand(2, 1, 5, 4)
    return torch.randn(2, 3, 3, 5, 4), torch.cat([classes, weights], dim=1)


def test_its_value_is_that_of_the_network(maps):
    stacked, target = maps
    plain = PixelWeightedCrossEntropy()
    loss = AuxiliaryLoss(plain, weight=0.25, half_life=10)
    assert loss(stacked, target) == plain(stacked[:, 0], target)
    torch.testing.assert_close(loss(stacked[:, 0], target), plain(stacked[:, 0], target))
    stacked[:, 2] = torch.inf
    assert not loss(stacked, target).isfinite()


def test_every_classifier_gets_its_share_of_the_gradient(maps):
    stacked, target = maps
    stacked.requires_grad_()
    plain = PixelWeightedCrossEntropy()
    AuxiliaryLoss(plain, weight=0.25)(stacked, target).backward()
    for index, share in enumerate((1, 0.25, 0.25)):
        alone = stacked[:, index].detach().requires_grad_()
        plain(alone, target).backward()
        torch.testing.assert_close(stacked.grad[:, index], share * alone.grad)


def test_the_weight_halves_every_half_life_of_the_trainers_steps(maps):
    stacked, target = maps
    stacked.requires_grad_()
    loss = AuxiliaryLoss(PixelWeightedCrossEntropy(), weight=2.0, half_life=3)
    alone = stacked[:, 1].detach().requires_grad_()
    loss.loss(alone, target).backward()
    weights = []

    def step(engine: Engine, batch: int) -> None:
        (gradient,) = torch.autograd.grad(loss(stacked, target), stacked)
        weights.append((gradient[:, 1].norm() / alone.grad.norm()).item())

    engine = Engine(step)
    loss.attach(engine)
    engine.run(range(4), max_epochs=2)
    assert weights == pytest.approx([2 * 0.5 ** (done / 3) for done in range(8)], rel=1e-4)
    loss.half_life = None
    assert loss.present_weight == 2.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weight": -0.1}, r"weight must be a number of at least 0 \(0 is the nearest\), got -0.1"),
        ({"weight": float("nan")}, "weight must be a number of at least 0"),
        ({"weight": "1"}, "weight must be a number of at least 0 .* got '1'"),
        ({"weight": float("inf")}, "weight must be a number of at least 0"),
        ({"half_life": 0}, "half_life must be above 0 steps, got 0"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        AuxiliaryLoss(PixelWeightedCrossEntropy(), **arguments)


def test_a_resumed_training_goes_on_with_the_same_weight(workflow, tmp_path):
    """Killed in the third of four epochs: the rest repeats what an uninterrupted training does, bit for bit."""
    options = {"max_epochs": 4, "samples_per_epoch": 3, "val_interval": 4}
    seen: dict[str, dict[int, float]] = {}

    def train(label: str, name: str, die_at: int = 0, **more: object) -> None:
        flow = workflow("networks/dcn.json", run_name=name, **options, **more)
        trainer, loss = map(flow.parser.get_parsed_content, ("train#trainer", "auxiliary_loss"))
        trace = seen[label] = {}

        def note(engine: Engine) -> None:
            trace[engine.state.iteration] = loss.present_weight
            if engine.state.iteration == die_at:
                raise Killed

        trainer.add_event_handler(Events.ITERATION_COMPLETED, note)
        flow.run()

    train("whole", "whole")
    with pytest.raises(Killed):
        train("broken", "broken", die_at=8)
    train("resumed", "broken", resume=True)
    assert seen["whole"] == pytest.approx({step: 0.5 ** ((step - 1) / 1.2) for step in range(1, 13)})
    assert seen["resumed"] == {step: seen["whole"][step] for step in range(7, 13)}
    expected, found = (checkpoints.read(tmp_path / "runs" / name / "last.pt") for name in ("whole", "broken"))
    torch.testing.assert_close(dict(found["network"]), dict(expected["network"]), rtol=0, atol=0)

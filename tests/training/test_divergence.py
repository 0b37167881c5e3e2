"""A training that diverges ends at once, says where, and leaves no network that is not finite."""

import math
from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from torch import nn

from bundle.model import TrainedNetwork, checkpoints
from bundle.training import StopDiverged
from bundle.training.divergence import DivergenceError


def train(losses, rate=0.1, steps=4, poison=None):
    """Steps of a one-weight network whose loss is multiplied by ``losses`` in turn; the network afterwards."""
    network = nn.Linear(1, 1, bias=False)
    nn.init.ones_(network.weight)
    optimizer = torch.optim.SGD(network.parameters(), lr=rate)

    def step(engine, factor):
        optimizer.zero_grad()
        loss = network(torch.ones(1, 1)).mean() * factor
        engine.state.output = {"loss": loss}
        loss.backward()
        engine.fire_event(IterationEvents.BACKWARD_COMPLETED)
        optimizer.step()
        if poison is not None:
            network.weight.data.fill_(poison)
        return engine.state.output

    trainer = Engine(step)
    trainer.register_events(*IterationEvents)
    StopDiverged(network, optimizer).attach(trainer)
    validated = []
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda _: validated.append(True))
    try:
        trainer.run(losses, max_epochs=1)
    finally:
        train.network, train.validated = network, validated
    return network


def test_finite_losses_train_to_the_end():
    network = train([1.0, 2.0, -1.0])
    assert network.weight.item() == pytest.approx(1 - 0.1 * 2)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_it_ends_at_the_very_step_with_finite_weights(bad):
    with pytest.raises(DivergenceError, match=r"diverged at step 3 \(loss -?(nan|inf), learning rate 0.1\)"):
        train([1.0, 1.0, bad, 1.0])
    assert train.network.weight.item() == pytest.approx(1 - 0.2)  # the third step was not made
    assert not train.validated


def test_weights_are_checked_before_a_validation():
    with pytest.raises(DivergenceError, match=r"step 1 .*weight holds values that are not finite"):
        train([1.0], poison=math.inf)
    assert not train.validated


def test_a_gradient_that_is_not_finite():
    class Root(nn.Linear):
        def forward(self, x):
            return (self.weight * 0).sqrt()  # a finite value with an infinite slope

    network = Root(1, 1)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)

    def step(engine, _):
        loss = network(None).mean()
        engine.state.output = {"loss": loss}
        loss.backward()
        engine.fire_event(IterationEvents.BACKWARD_COMPLETED)
        optimizer.step()

    trainer = Engine(step)
    trainer.register_events(*IterationEvents)
    StopDiverged(network, optimizer).attach(trainer)
    with pytest.raises(DivergenceError, match=r"step 1 \(loss 0,"):
        trainer.run([0], max_epochs=1)


def test_what_a_gpu_has_not_answered_yet_is_waited_for(monkeypatch):
    asked = []

    class OnGpu(torch.Tensor):
        is_cuda = True

        def to(self, *args, **kwargs):
            asked.append((self.as_subclass(torch.Tensor), torch.zeros(self.shape, dtype=self.dtype)))
            return asked[-1][1]

    def answer():
        for value, copy in asked:
            copy.copy_(value)

    stream = SimpleNamespace(record_event=lambda: SimpleNamespace(synchronize=answer))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    network = nn.Linear(1, 1)
    check = StopDiverged(network, torch.optim.SGD(network.parameters(), lr=0.1)).check_step
    steps = [
        SimpleNamespace(state=SimpleNamespace(iteration=step, output={"loss": torch.tensor(loss).as_subclass(OnGpu)}))
        for step, loss in enumerate((1.0, math.nan, 1.0), 1)
    ]
    check(steps[0])
    check(steps[1])
    with pytest.raises(DivergenceError, match=r"diverged at step 2 \(loss nan"):
        check(steps[2])


def test_no_such_network_is_written_or_loaded(tmp_path):
    network = nn.Linear(2, 1)
    checkpoints.write(tmp_path / "model.pt", network.state_dict())
    before = (tmp_path / "model.pt").read_bytes()
    network.bias.data.fill_(math.nan)
    for content in (network.state_dict(), {"network": network.state_dict(), "epoch": 1}):
        with pytest.raises(ValueError, match="not finite in bias: its training diverged"):
            checkpoints.write(tmp_path / "model.pt", content)
    assert (tmp_path / "model.pt").read_bytes() == before
    torch.save(network.state_dict(), tmp_path / "bad.pt")
    with pytest.raises(ValueError, match=r"bad.pt holds values that are not finite in bias"):
        TrainedNetwork(tmp_path / "bad.pt").load(nn.Linear(2, 1))


@pytest.mark.parametrize("options", [{"validation": 0}, {}])
def test_the_command_line_says_it_and_publishes_nothing(tmp_path, cells, bundle_run, options):
    from tests.conftest import TINY

    done = bundle_run(
        "training",
        "configs/train.json",
        dataset_dir=str(cells),
        output_dir=str(tmp_path / "runs"),
        model_file=str(tmp_path / "model.pt"),
        **{**TINY, "optimizer#lr": 1e6, "run_name": "hot", "max_epochs": 5, "network_def#norm": "$None", **options},
    )
    assert done.returncode == 1
    assert "error: training diverged at step " in done.stderr
    assert "probability holds" not in done.stderr
    assert not (tmp_path / "model.pt").exists()
    for file in (tmp_path / "runs" / "hot").glob("*.pt"):
        assert checkpoints.not_finite(checkpoints.network_weights(checkpoints.read(file))) is None

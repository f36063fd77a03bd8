"""A training loop that is resumed after any epoch ends with the same weights."""

import pytest
import torch
from torch import nn

from criteria import loss
from transfer_core.recipe.steps import Train
from transfer_core.runtime.errors import ConfigurationError
from transfer_core.runtime.progress import Progress
from transfer_core.training.batch import Batch, BatchSource
from transfer_core.training.checkpointer import Snapshot
from transfer_core.training.loop import train_epochs
from transfer_core.training.optimizers import Group, build_optimizer
from transfer_core.training.single_device_execution import SingleDeviceExecution
from transfer_core.training.state import LoopState

EPOCHS = 5


def network():
    """Convolutions in `channels_last` memory layout, BatchNorm, dropout and a frozen layer."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        net = nn.Sequential(
            nn.Conv2d(3, 4, 3),
            nn.BatchNorm2d(4),
            nn.Conv2d(4, 4, 3),
            nn.Dropout(0.3),
            nn.Flatten(),
            nn.Linear(16, 3),
        )
    net[0].requires_grad_(False)
    return net.to(memory_format=torch.channels_last)


def source():
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(10, 3, 6, 6, generator=generator)
    targets = torch.randint(3, (10,), generator=generator)

    def epoch(number):
        order = torch.randperm(10, generator=torch.Generator().manual_seed(number))
        for some in torch.split(order, 4):
            yield Batch(inputs[some], targets[some], torch.ones(len(some)))

    return BatchSource(epoch, steps=3)


def executed(net):
    return SingleDeviceExecution(net, torch.device("cpu"), torch.float32, 4, Progress())


class Memory:
    """A checkpointer in memory: copies of the arrays, as a file holds them."""

    def __init__(self, first=None):
        self.first, self.saved = first, []

    def load(self):
        return self.first

    def save(self, snapshot):
        now = snapshot()
        arrays = {name: t.detach().numpy().copy(order="C") for name, t in now.tensors.items()}
        facts = {**now.facts, "history": [dict(entry) for entry in now.facts["history"]]}
        self.saved.append(Snapshot(arrays, facts))


def trained(memory, validation=None, **words):
    net = network()
    losses = iter(
        validation[len(memory.first.facts["history"]) + 1 :]
        if memory.first and validation
        else validation or ()
    )
    validate = (lambda: {"validation_loss": next(losses)}) if validation else None
    train = Train(**{"epochs": EPOCHS, "learning_rate": 0.05, "schedule": "cosine", "warmup": 0.2, **words})
    history = train_epochs(executed(net), source(), loss, validate, train, "train", 7, Progress(), memory)
    return net.state_dict(), history


@pytest.mark.parametrize(
    "words",
    [
        {"optimizer": "sgd"},
        {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.01},
        {"optimizer": "adam"},
        {"optimizer": "adamw", "weight_decay": 0.1},
        {"optimizer": "adam", "validation": [3.0, 1.0, 2.0, 0.5, 0.7, 0.6]},
        {"optimizer": "adamw", "validation": [1.0, 2.0, 0.9, 2.0, 3.0, 4.0], "early_stopping": 2},
        {"optimizer": "adam", "validation": [0.1, 2.0, 0.9, 2.0, 3.0, 4.0], "early_stopping": 0},
    ],
    ids=str,
)
def test_resumes_bit_by_bit_after_any_epoch(words):
    whole = Memory()
    state, history = trained(whole, **words)
    assert len(whole.saved) == len(history) >= 4
    for saved in whole.saved:
        again, history_again = trained(Memory(saved), **words)
        assert history_again == history
        assert [name for name in state if not torch.equal(state[name], again[name])] == []


def test_an_epoch_draws_the_same_numbers_whatever_came_before():
    whole = Memory()
    trained(whole, optimizer="adam")
    torch.manual_seed(99)
    torch.rand(5)
    other = Memory()
    trained(other, optimizer="adam")
    assert whole.saved[-1].facts == other.saved[-1].facts


def test_the_state_of_an_optimizer_lies_in_memory_as_its_parameter_does():
    memory = Memory()
    trained(memory, optimizer="adam")
    net = network()
    parameters = [p for p in net.parameters() if p.requires_grad]
    optimizer = build_optimizer([Group(parameters)], Train(optimizer="adam", learning_rate=0.1))
    LoopState(net, optimizer).restore(memory.saved[0])
    convolution = net[2].weight
    assert convolution.stride() != convolution.contiguous().stride()
    assert optimizer.state[convolution]["exp_avg"].stride() == convolution.stride()


def test_another_network_is_refused():
    memory = Memory()
    trained(memory, optimizer="adam")
    other = nn.Linear(2, 2)
    state = LoopState(other, build_optimizer([Group(list(other.parameters()))], Train(optimizer="adam")))
    with pytest.raises(ConfigurationError) as error:
        state.restore(memory.saved[0])
    assert str(error.value) == (
        "the checkpoint does not fit the network. "
        "Fix: resume with the version that wrote it, or start a new training"
    )

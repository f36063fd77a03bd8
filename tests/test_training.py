"""The training loop against a bare PyTorch loop, its schedule against PyTorch's schedulers."""

import copy
import math

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from sklearn.metrics import f1_score
from torch import nn
from torch.optim import lr_scheduler

from criteria import loss, mean_loss, validation_metrics
from transfer_core.recipe.steps import Train
from transfer_core.runtime.errors import Cancelled, RecipeError
from transfer_core.runtime.progress import Progress
from transfer_core.training.batch import Batch, BatchSource
from transfer_core.training.loop import train_epochs
from transfer_core.training.single_device_execution import SingleDeviceExecution

TRAIN = Train(
    optimizer="adam",
    epochs=4,
    learning_rate=0.01,
    weight_decay=0.0,
    batch_size=8,
    schedule="constant",
    warmup=0.0,
    early_stopping=0,
)


def drawn(n=30, width=5, classes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(n, width, generator=generator)
    return inputs, torch.arange(n) % classes, torch.rand(n, generator=generator) + 0.5


def source_of(inputs, targets, weights, size=8):
    def epoch(number):
        order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(number))
        for rows in torch.split(order, size):
            yield Batch(inputs[rows], targets[rows], weights[rows])

    return BatchSource(epoch, math.ceil(len(inputs) / size))


def network(seed=1, dropout=0.0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 3))


def run(module, source, train=TRAIN, validate=None, seed=0, progress=None):
    execution = SingleDeviceExecution(module, torch.device("cpu"), torch.float32, 8, Progress())
    return train_epochs(execution, source, loss, validate, train, "train", seed, progress or Progress())


def assert_equal_weights(a, b, exactly=True):
    for (name, mine), theirs in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        torch.testing.assert_close(
            mine, theirs, rtol=0 if exactly else 1e-5, atol=0 if exactly else 1e-7, msg=name
        )


OPTIMIZERS = {
    "adam": (replace(TRAIN, weight_decay=0.1), lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1)),
    "adamw": (
        replace(TRAIN, optimizer="adamw", weight_decay=0.1),
        lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
    ),
    "sgd": (
        replace(TRAIN, optimizer="sgd", momentum=0.9, weight_decay=0.1),
        lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, weight_decay=0.1),
    ),
    "sgd without momentum": (replace(TRAIN, optimizer="sgd"), lambda p: torch.optim.SGD(p, lr=0.01)),
}


@pytest.mark.parametrize(("train", "theirs"), OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
def test_a_bare_loop_gives_the_same_weights(train, theirs):
    data = drawn()
    ours, bare, before = network(), network(), network()
    history = run(ours, source_of(*data), train)
    groups = [{"params": p, **({} if p.ndim > 1 else {"weight_decay": 0.0})} for p in bare.parameters()]
    optimizer, losses = theirs(groups), []
    for number in range(1, 5):
        total = 0.0
        for batch in source_of(*data).epoch(number):
            optimizer.zero_grad()
            each = nn.CrossEntropyLoss(reduction="none")(bare(batch.inputs), batch.targets)
            mean = (each * batch.weights).sum() / batch.weights.sum()
            mean.backward()
            optimizer.step()
            total += mean.item() * len(batch)
        losses.append(total / 30)
    assert_equal_weights(ours, bare, exactly=False)
    assert not torch.equal(ours[0].weight, before[0].weight)
    assert [entry["epoch"] for entry in history] == [1, 2, 3, 4]
    assert [entry["loss"] for entry in history] == pytest.approx(losses, rel=1e-6)


class TwoReplicas:
    """An execution that the project does not have: each half of a batch on a replica of its own."""

    def __init__(self, module):
        self.module = module

    def backward(self, batch, loss):
        self.module.zero_grad(set_to_none=True)
        total, mean = batch.weights.sum(), torch.zeros(())
        for half in batch.split(-(-len(batch) // 2)):
            replica = copy.deepcopy(self.module)
            share = loss(replica(half.inputs), half.targets, half.weights) / total
            share.backward()
            mean += share.detach()
            for parameter, theirs in zip(self.module.parameters(), replica.parameters(), strict=True):
                parameter.grad = theirs.grad if parameter.grad is None else parameter.grad + theirs.grad
        return mean

    def outputs(self, inputs):
        with torch.no_grad():
            return self.module(inputs)


def test_any_execution_trains_the_same_weights():
    data, ours, replicated = drawn(), network(), network()
    history = run(ours, source_of(*data))
    execution = TwoReplicas(replicated)
    others = train_epochs(execution, source_of(*data), loss, None, TRAIN, "train", 0, Progress())
    assert_equal_weights(ours, replicated, exactly=False)
    assert [entry["loss"] for entry in others] == pytest.approx([entry["loss"] for entry in history])


def test_the_loop_follows_the_schedule():
    data = drawn()
    train = replace(TRAIN, schedule="cosine", warmup=0.1)
    ours, bare = network(), network()
    run(ours, source_of(*data), train)
    optimizer = torch.optim.Adam(bare.parameters(), lr=0.01)
    scheduler = lr_scheduler.LambdaLR(
        optimizer, lambda s: (s + 1) / 3 if s < 2 else 0.5 * (1 + math.cos(math.pi * (s - 2) / 14))
    )
    for number in range(1, 5):
        for batch in source_of(*data).epoch(number):
            optimizer.zero_grad()
            mean_loss(bare(batch.inputs), batch.targets, batch.weights).backward()
            optimizer.step()
            scheduler.step()
    assert_equal_weights(ours, bare, exactly=False)


def scripted(losses):
    """A validation that gives these losses, and records what it looked at."""
    given = iter(losses)
    return lambda: {"validation_loss": next(given)}


def states_of(module, losses):
    """A scripted validation, and the module's states at each look."""
    states, script = [], scripted(losses)

    def validate():
        states.append({name: tensor.clone() for name, tensor in module.state_dict().items()})
        return script()

    return validate, states


@pytest.mark.parametrize(
    ("losses", "patience", "epochs", "best"),
    [
        ([9, 5, 4, 3, 2], 2, 4, 4),
        ([9, 5, 6, 7, 1], 2, 3, 1),
        ([9, 5, 6, 4, 5, 6, 1], 2, 5, 3),
        ([1, 5, 6, 7, 8], 3, 3, 0),
        ([9, 5, 6, 7, 8], 0, 4, 1),
        ([9, 5, 5, 5, 5], 3, 4, 1),
        ([9, math.nan, 5, 6, 7], 9, 4, 2),
    ],
)  # fmt: skip
def test_training_stops_early_and_the_best_state_is_put_back(losses, patience, epochs, best):
    module = network()
    validate, states = states_of(module, losses)
    train = replace(TRAIN, early_stopping=patience, epochs=max(4, epochs))
    history = run(module, source_of(*drawn()), train, validate)
    assert len(history) == epochs
    assert [entry["validation_loss"] for entry in history] == pytest.approx(
        losses[1 : epochs + 1], nan_ok=True
    )
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, states[best][name]), name
    assert not torch.equal(states[0]["0.weight"], states[1]["0.weight"])


def test_running_statistics_are_put_back_with_the_weights():
    module = nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 3))
    validate, states = states_of(module, [9, 1, 2, 3, 4])
    run(module, source_of(*drawn()), TRAIN, validate)
    assert torch.equal(module[0].running_mean, states[1]["0.running_mean"])
    assert not torch.equal(states[1]["0.running_mean"], states[4]["0.running_mean"])


def test_validation_sees_the_module_in_eval_mode():
    module, modes = network(dropout=0.5), []

    def validate():
        modes.append(module.training)
        return {"validation_loss": 0.0}

    run(module.eval(), source_of(*drawn()), TRAIN, validate)
    assert modes == [False] * 5
    assert not module.training


def test_a_module_that_comes_in_training_mode_is_first_measured_in_eval_mode():
    module, modes = network(dropout=0.5).train(), []
    run(module, source_of(*drawn()), TRAIN, lambda: modes.append(module.training) or {"validation_loss": 0.0})
    assert modes == [False] * 5


def test_what_needs_no_gradient_is_left_alone():
    module = network()
    module[0].requires_grad_(False)
    run(module, source_of(*drawn()), replace(TRAIN, weight_decay=0.1))
    assert torch.equal(module[0].weight, network()[0].weight)
    assert not torch.equal(module[3].weight, network()[3].weight)


def test_dropout_follows_the_seed_and_leaves_the_callers_random_state_alone():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    modules = [network(dropout=0.5) for _ in range(3)]
    for module, seed in zip(modules, (7, 7, 8), strict=True):
        torch.rand(3)
        run(module, source_of(*drawn()), seed=seed)
    assert_equal_weights(modules[0], modules[1])
    assert not torch.equal(modules[0][0].weight, modules[2][0].weight)
    torch.manual_seed(5)
    assert torch.equal(state, torch.get_rng_state())
    run(network(dropout=0.5), source_of(*drawn()))
    assert torch.equal(state, torch.get_rng_state())


def test_a_loss_that_explodes_is_an_error_with_a_way_out():
    data = drawn()
    train = replace(TRAIN, optimizer="sgd", learning_rate=1e30)
    with pytest.raises(RecipeError) as caught:
        run(network(), source_of(*data), train)
    assert str(caught.value) in (
        "train: the loss became nan in epoch 1. Fix: use a lower learning_rate",
        "train: the loss became inf in epoch 1. Fix: use a lower learning_rate",
    )


def test_events_and_cancelling():
    events = []
    run(network(), source_of(*drawn()), validate=scripted([3, 2, 1, 0, 0]), progress=Progress(events.append))
    epochs = [event for event in events if event["event"] == "epoch"]
    assert [(e["step"], e["number"], e["of"], e["metrics"]["validation_loss"]) for e in epochs] == [
        ("train", 1, 4, 2),
        ("train", 2, 4, 1),
        ("train", 3, 4, 0),
        ("train", 4, 4, 0),
    ]
    ended = [event for event in events if event["event"] == "progress" and event["done"] == event["total"]]
    assert [event["total"] for event in ended] == [4] * 4
    with pytest.raises(Cancelled):
        run(network(), source_of(*drawn()), progress=Progress(cancelled=lambda: True))


def test_class_weights_are_those_of_pytorch():
    inputs, targets, _ = drawn()
    output, by_class = network()(inputs), torch.tensor([0.5, 2.0, 3.0])
    expected = nn.CrossEntropyLoss(weight=by_class)(output, targets)
    torch.testing.assert_close(mean_loss(output, targets, by_class[targets]), expected)


def test_the_loss_of_values_is_the_mean_squared_error():
    output, targets = (
        network()(drawn()[0]).detach(),
        torch.randn(30, 3, generator=torch.Generator().manual_seed(0)),
    )
    torch.testing.assert_close(mean_loss(output, targets, torch.ones(30)), nn.MSELoss()(output, targets))
    weights = torch.rand(30, generator=torch.Generator().manual_seed(1))
    expected = np.average(((output - targets) ** 2).mean(1).numpy(), weights=weights.numpy())
    assert float(mean_loss(output, targets, weights)) == pytest.approx(expected, rel=1e-6)


def test_the_loss_of_labels_is_pytorchs():
    generator = torch.Generator().manual_seed(0)
    output, targets = torch.randn(30, 4, generator=generator), torch.rand(30, 4, generator=generator) < 0.3
    truth = targets.float()
    expected = nn.BCEWithLogitsLoss()(output, truth)
    torch.testing.assert_close(mean_loss(output, targets, torch.ones(30)), expected)
    torch.testing.assert_close(mean_loss(output, targets, torch.ones(30, 4)), expected)
    positive = torch.tensor([1.0, 2.0, 5.0, 0.5])
    weights = torch.where(targets, positive, 1.0)
    # PyTorch divides by the number of decisions, we by what they weigh.
    weighted = nn.BCEWithLogitsLoss(pos_weight=positive)(output, truth) * weights.numel() / weights.sum()
    torch.testing.assert_close(mean_loss(output, targets, weights), weighted)
    pieces = [loss(output[rows], targets[rows], weights[rows]) for rows in torch.arange(30).split(8)]
    torch.testing.assert_close(sum(pieces) / weights.sum(), weighted)


def test_validation_of_labels():
    output = torch.tensor([[2.0, -1.0], [-1.0, 3.0], [-2.0, -2.0]])
    targets = torch.tensor([[True, True], [False, True], [False, False]])
    metrics = validation_metrics(output, targets, torch.ones(3))
    assert list(metrics) == ["validation_loss", "micro_f1"]
    assert metrics["micro_f1"] == pytest.approx(f1_score(targets, output > 0, average="micro"))
    assert validation_metrics(output - 9, targets & False, torch.ones(3))["micro_f1"] == 0


def test_validation_metrics():
    output = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0], [0.0, 0.0]])
    metrics = validation_metrics(output, torch.tensor([0, 1, 1, 0]), torch.ones(4))
    logs = [math.log1p(math.exp(-2)), math.log1p(math.exp(-1)), math.log1p(math.exp(3)), math.log(2)]
    assert metrics == {"validation_loss": pytest.approx(sum(logs) / 4, rel=1e-6), "accuracy": 0.75}
    values = validation_metrics(output, output + 2, torch.ones(4))
    assert values == {"validation_loss": pytest.approx(4.0)}

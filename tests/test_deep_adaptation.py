"""Losses between domains against numpy formulas, and trainings with them through the public API."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import transfer_core
from interrupting import same
from photos import pixels, save
from tiny_backbone import tiny_backbone
from transfer_core import backbones
from transfer_core.kinds.class_confusion import confusion
from transfer_core.pipeline import five_steps
from transfer_core.runs import checkpoints
from transfer_core.runtime.errors import Cancelled, RecipeError
from transfer_core.runtime.progress import Progress
from transfer_core.tasks.classification import CrossEntropy
from transfer_core.training.adaptation import Adaptation, DomainHead, paired_batches
from transfer_core.training.batch import Batch
from transfer_core.training.cpu_execution import cpu_execution
from transfer_core.training.domain_losses import class_confusion, coral_loss, mmd_squared, reversed_gradient
from transfer_core.training.losses import loss_of
from transfer_core.training.single_device_execution import SingleDeviceExecution

pytest.importorskip("sklearn.decomposition")  # whose first import sets variables of the environment

METHODS = ["mmd", "coral", "dann", "mcc"]
STEPS = [
    {"type": "freeze"},
    {"type": "train"},
    {"type": "unfreeze", "last": 2},
    {"type": "train", "epochs": 3, "batch_size": 6},
]


def drawn(rows, width, seed):
    return np.random.default_rng(seed).normal(size=(rows, width))


def test_discrepancy_is_the_sum_over_pairs():
    source, target = drawn(5, 3, 0), drawn(4, 3, 1) + 1
    rows = np.concatenate([source, target])
    squared = ((rows[:, None] - rows) ** 2).sum(axis=2)
    middle = squared[~np.eye(9, dtype=bool)].mean()

    def kernel(a, b):
        return np.mean([np.exp(-factor * ((a - b) ** 2).sum() / middle) for factor in (0.25, 0.5, 1, 2, 4)])

    within = [
        np.mean([kernel(a, b) for i, a in enumerate(part) for j, b in enumerate(part) if i != j])
        for part in (source, target)
    ]
    between = np.mean([kernel(a, b) for a in source for b in target])
    found = mmd_squared(torch.tensor(source), torch.tensor(target))
    assert float(found) == pytest.approx(sum(within) - 2 * between, rel=1e-9)


def test_coral_loss_is_the_distance_of_covariances():
    source, target = drawn(9, 4, 0), 2 * drawn(7, 4, 1)
    expected = ((np.cov(source.T) - np.cov(target.T)) ** 2).sum() / (4 * 4**2)
    assert float(coral_loss(torch.tensor(source), torch.tensor(target))) == pytest.approx(expected)


def test_class_confusion_and_its_gradient_are_those_of_the_closed_form():
    outputs = torch.tensor(drawn(8, 3, 0), requires_grad=True)
    predicted = torch.softmax(outputs / 2.5, dim=1)
    expected, slope = confusion(predicted.detach().numpy())
    found = class_confusion(outputs)
    assert float(found.detach()) == pytest.approx(expected)
    (gradient,) = torch.autograd.grad(found, outputs)
    (through,) = torch.autograd.grad(predicted, outputs, torch.tensor(slope))
    assert torch.allclose(gradient, through)


def test_reversal_changes_the_sign_of_the_gradient_alone():
    rows = torch.tensor(drawn(3, 2, 0), requires_grad=True)
    found = reversed_gradient(rows, 0.5)
    assert torch.equal(found, rows)
    (gradient,) = torch.autograd.grad((found**2).sum(), rows)
    assert torch.allclose(gradient, -0.5 * 2 * rows)


def domain_head(method, rows=8, width=5, outputs=2):
    from_source = torch.arange(rows) % 2 == 0
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(width, 4), nn.ReLU(), nn.Linear(4, outputs))
    return DomainHead(network, Adaptation(method, 1.0, from_source), generator)


def test_adversarial_gradients_go_down_for_the_discriminator_and_up_for_the_features():
    head = domain_head("dann")
    head.train()
    head.at(1.0)
    embeddings = torch.tensor(drawn(8, 5, 0), dtype=torch.float32)
    of_target = torch.tensor([0.0, 1.0] * 4)
    hidden = head.head[:-1](embeddings)
    direct = nn.functional.binary_cross_entropy_with_logits(head.discriminator(hidden)[:, 0], of_target)
    first, own = head.head[0].weight, head.discriminator[0].weight
    expected = torch.autograd.grad(direct, (first, own))
    loss = head.loss(lambda outputs, targets, weights: 0 * outputs.sum())
    computed = loss(head(embeddings), torch.zeros(8, dtype=torch.long), torch.tensor([1.0, 0.0] * 4)) / 4
    found = torch.autograd.grad(computed, (first, own))
    assert head.factor == pytest.approx(1, abs=1e-4)
    assert torch.allclose(found[0], -head.factor * expected[0], atol=1e-7)
    assert torch.allclose(found[1], expected[1], atol=1e-7)


@pytest.mark.parametrize("method", METHODS)
def test_micro_batches_give_the_gradients_of_the_whole_batch(method, monkeypatch):
    monkeypatch.setattr("transfer_core.training.cpu_execution.machine_cores", lambda: 2)
    weights = torch.tensor([1.0, 0.0] * 4)
    inputs = torch.tensor(drawn(8, 5, 0), dtype=torch.float32)
    batch = Batch(inputs, torch.arange(8) // 2 % 2, weights)
    head = domain_head(method)
    head.train()
    head.at(0.7)
    loss = head.loss(loss_of(CrossEntropy()))
    whole = SingleDeviceExecution(head, torch.device("cpu"), torch.float32, 8, Progress())
    expected = whole.backward(batch, loss)
    gradients = [parameter.grad.clone() for parameter in head.parameters()]
    with cpu_execution(head, torch.device("cpu"), torch.float32, 8, Progress(), whole_batch=True) as parts:
        assert torch.allclose(parts.backward(batch, loss), expected)
    for parameter, gradient in zip(head.parameters(), gradients, strict=True):
        assert torch.allclose(parameter.grad, gradient, atol=1e-6)


def test_batches_have_halves_of_both_domains():
    head = domain_head("mmd", rows=10)
    head.adaptation.from_source[:7] = True
    orders = []

    def read(order, number):
        orders.append(order)
        return order.split(4)

    batches = paired_batches(head, 4, 0, 2, read)
    for number in (1, 2):
        list(batches.epoch(number))
    assert batches.steps == 4
    for order in orders:
        assert head.adaptation.from_source[order[::2]].all()
        assert not head.adaptation.from_source[order[1::2]].any()
        assert set(order[::2].tolist()) == set(torch.nonzero(head.adaptation.from_source)[:, 0].tolist())
    assert not torch.equal(*orders)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two classes; the target is darker and has no labels."""
    root = tmp_path_factory.mktemp("domains")
    for number, (label, color) in enumerate({"brick": (200, 60, 40), "leaf": (60, 200, 60)}.items()):
        dark = tuple(value // 2 for value in color)
        for i in range(10):
            save(root / "source" / label / f"{i}.png", pixels(color, 100 * number + i, 20))
            save(root / "target" / f"{label}{i}.png", pixels(dark, 300 + 100 * number + i, 20))
            if i < 3:
                save(root / "test" / label / f"{i}.png", pixels(dark, 600 + 100 * number + i, 20))
    return root


@pytest.fixture
def tiny_network(monkeypatch):
    network = tiny_backbone()

    def restore(name, tensors, *_):
        restored = tiny_backbone()
        restored.load_state_dict(tensors)
        return restored

    monkeypatch.setattr(backbones, "restore", restore)
    monkeypatch.setattr(backbones, "load", lambda *_: tiny_backbone())
    monkeypatch.setattr(five_steps, "open_backbone", lambda *_: tiny_backbone())
    monkeypatch.setattr(backbones, "facts", lambda *_: network.facts)
    monkeypatch.setattr(five_steps, "describe", lambda *_: network.facts)
    monkeypatch.setattr(checkpoints, "SHORTEST_PAUSE_S", 0)
    monkeypatch.setattr(checkpoints, "PAUSE_PER_COST", 0)


def train(photos, **words):
    return transfer_core.train(
        backbone="mobilenet_v2",
        data={"train": str(photos / "target"), "test": str(photos / "test")},
        source=str(photos / "source"),
        device="cpu",
        split={"near_duplicates": False},
        **{"steps": STEPS, **words},
    )


@pytest.mark.usefixtures("tiny_network")
@pytest.mark.parametrize("method", METHODS)
def test_blocks_train_with_a_loss_between_the_domains(photos, method):
    model = train(photos, adapt=method)
    assert model.header.backbone.fine_tuned
    assert {"source_only", "accuracy"} <= set(model.metrics)
    assert [entry["step"] for entry in model.history][-3:] == ["fine_tune"] * 3
    if method == "mcc":
        assert same(model.path, train(photos, adapt=method).path)


@pytest.mark.usefixtures("tiny_network")
def test_a_cancelled_adaptation_resumes_to_the_same_bits(photos):
    events = []

    def cancelled():
        return any(event["event"] == "epoch" and event["step"] == "fine_tune" for event in events)

    whole = train(photos, adapt="dann")
    with pytest.raises(Cancelled):
        train(photos, adapt="dann", on_event=events.append, cancelled=cancelled)
    run = next(event["id"] for event in events if event["event"] == "run")
    assert same(transfer_core.resume(run).path, whole.path)


@pytest.mark.usefixtures("tiny_network")
def test_methods_that_do_not_go_with_the_steps_are_refused(photos):
    with pytest.raises(
        RecipeError, match=r"tca works on the embeddings .* Try: adapt: coral, mmd, dann, mcc"
    ):
        train(photos, adapt="tca")
    with pytest.raises(RecipeError, match="dann trains the hidden layer of an mlp head on a frozen backbone"):
        train(photos, adapt="dann", head="linear", steps=[])

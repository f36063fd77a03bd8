"""Group DRO while blocks train: factors follow validation losses, and a resumed training has them."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from photos import save
from tiny_backbone import WIDTH, tiny_backbone
from transfer_core.data import Dataset
from transfer_core.finetune import Examples, fine_tune
from transfer_core.finetune.group_factors import GroupFactors
from transfer_core.plan.phases import Phase
from transfer_core.recipe.steps import Train
from transfer_core.runtime.devices import Machine
from transfer_core.runtime.progress import Progress
from transfer_core.tasks.criteria import CrossEntropy
from transfer_core.training.checkpointer import Snapshot
from transfer_core.training.group_dro import mean_by_group, next_factors


def test_means_and_factors():
    losses, groups = np.array([1.0, 3.0, 5.0, 7.0]), np.array([0, 0, 2, -1])
    assert mean_by_group(losses, groups, 3).tolist() == [2.0, 4.0, 5.0]
    factors = next_factors(np.ones(3), np.array([1.0, 2.0, 3.0]))
    expected = np.exp(0.5 * np.array([0.5, 1.0, 1.5]))
    assert factors == pytest.approx(expected / expected.mean())


def test_factors_grow_with_the_loss_of_a_cell():
    module = nn.Linear(1, 2)
    factors = GroupFactors(module, np.array([0, 1, -1, 1]), np.array([0, 1, 1]))
    assert factors.of(torch.arange(4)).tolist() == [1, 1, 1, 1]
    outputs, targets = np.array([[9.0, 0], [9.0, 0], [9.0, 0]], np.float32), np.array([0, 1, 1])
    worst = factors.update(CrossEntropy(), outputs, targets, np.arange(3))
    assert worst == pytest.approx(9, abs=1e-3)
    first, second, none, _ = factors.of(torch.arange(4)).tolist()
    assert first < 1 == none < second
    assert "group_factors" not in module.state_dict()
    assert "group_factors" in dict(module.named_buffers())


class Memory:
    """Keeps the snapshot of one epoch, and may begin with one."""

    def __init__(self, epoch=None, begin=None):
        self.epoch, self.begin, self.kept, self.seen = epoch, begin, None, 0

    def load(self):
        return self.begin

    def save(self, snapshot):
        self.seen += 1
        if self.seen == self.epoch:
            found = snapshot()
            tensors = {name: tensor.numpy().copy() for name, tensor in found.tensors.items()}
            self.kept = Snapshot(tensors, copy.deepcopy(found.facts))


def tuned(tmp_path, checkpointer, robust=True):
    def examples(count, first):
        noise = [np.random.default_rng(first + i).integers(0, 256, (20, 20, 3)) for i in range(count)]
        paths = [save(tmp_path / f"{first + i}.png", array.astype(np.uint8)) for i, array in enumerate(noise)]
        targets = torch.arange(count) % 2
        cells = np.arange(count) % 4 if robust else None
        digests = tuple(f"{first + i:064x}" for i in range(count))
        return Examples(Dataset(tuple(paths), digests, targets.numpy()), targets, torch.ones(count), cells)

    step = Train(
        epochs=3,
        optimizer="adamw",
        learning_rate=1e-2,
        weight_decay=0.0,
        batch_size=4,
        schedule="constant",
        warmup=0.0,
        early_stopping=0,
    )
    torch.manual_seed(0)
    backbone, head = tiny_backbone(), nn.Sequential(nn.Linear(WIDTH, 2))
    given = examples(12, 0), examples(8, 100), (), Machine(torch.device("cpu"), "float32"), CrossEntropy()
    phase = Phase(step, ("last",))
    history = fine_tune(backbone, head, phase, *given, 0, Progress(), checkpointer=checkpointer)
    return head.state_dict()["0.weight"], history


def test_a_resumed_training_has_the_same_factors(tmp_path):
    stopped = Memory(epoch=1)
    weight, history = tuned(tmp_path, stopped)
    assert stopped.kept.tensors["now.group_factors"].shape == (5,)
    assert not np.allclose(stopped.kept.tensors["now.group_factors"], 1)
    resumed, again = tuned(tmp_path, Memory(begin=stopped.kept))
    assert torch.equal(resumed, weight)
    assert again == history
    plain, _ = tuned(tmp_path, Memory(), robust=False)
    assert not torch.equal(plain, weight)

"""Optimisers against PyTorch's own, their learning rate against PyTorch's schedulers."""

import math

import pytest
import torch
from msgspec.structs import replace
from torch import nn
from torch.optim import lr_scheduler

from transfer_core.recipe.steps import Train
from transfer_core.training.optimizers import Group, build_optimizer, set_learning_rate


def layers():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 3))


def steps(module, optimizer, count):
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        optimizer.zero_grad()
        module(torch.randn(4, 7, generator=generator)).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize(
    ("train", "theirs"),
    [
        (Train(optimizer="sgd", momentum=0.9), lambda them: torch.optim.SGD(them, lr=0.1, momentum=0.9)),
        (Train(optimizer="adam"), lambda them: torch.optim.Adam(them, lr=0.1)),
        (Train(optimizer="adamw"), lambda them: torch.optim.AdamW(them, lr=0.1, weight_decay=0.0)),
    ],
    ids=["sgd", "adam", "adamw"],
)
def test_a_step_is_that_of_pytorch_before_and_after_its_state_was_restored(train, theirs):
    train = replace(train, learning_rate=0.1)
    ours, bare = layers(), layers()
    theirs = theirs(bare.parameters())
    steps(bare, theirs, 3)
    steps(bare, theirs, 3)
    first = build_optimizer([Group(list(ours.parameters()))], train)
    steps(ours, first, 3)
    restored = build_optimizer([Group(list(ours.parameters()))], train)
    restored.load_state_dict(first.state_dict())
    steps(ours, restored, 3)
    for mine, its in zip(ours.parameters(), bare.parameters(), strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("warmup", "schedule"), [(0.0, "cosine"), (0.2, "cosine"), (0.25, "constant"), (0.0, "constant")]
)
def test_the_learning_rate_is_that_of_pytorch(warmup, schedule):
    total = 21
    train = Train(optimizer="sgd", schedule=schedule, warmup=warmup, learning_rate=0.3)
    ours = build_optimizer([Group([nn.Parameter(torch.zeros(1))])], train)
    theirs = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
    rising = math.ceil(warmup * total)
    then = (
        lr_scheduler.CosineAnnealingLR(theirs, total - rising)
        if schedule == "cosine"
        else lr_scheduler.LambdaLR(theirs, lambda _: 1.0)
    )
    scheduler = then
    if rising:
        rise = lr_scheduler.LinearLR(theirs, start_factor=1 / (rising + 1), total_iters=rising)
        scheduler = lr_scheduler.SequentialLR(theirs, [rise, then], milestones=[rising])
    for step in range(total):
        set_learning_rate(ours, train, step, total)
        assert ours.param_groups[0]["lr"] == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-9), step
        theirs.step()
        scheduler.step()

"""Optimizers (SGD, Adam, AdamW) with parameter groups, and the learning rate schedule."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

import torch
from torch import nn

from transfer_core.recipe.steps import Train

_Optimizer = TypeVar("_Optimizer", bound=torch.optim.Optimizer)


def _without_compiler(optimizer: type[_Optimizer]) -> type[_Optimizer]:
    """Return a subclass that does not import torch's compiler.

    That import takes a second, for decorators that exclude optimizers from compilation, which is not used
    here.
    """
    methods = {
        name: inspect.unwrap(getattr(optimizer, name))
        for name in ("add_param_group", "state_dict", "load_state_dict")
    }
    step = torch.no_grad()(inspect.unwrap(optimizer.step))
    return cast(type[_Optimizer], type(optimizer.__name__, (optimizer,), {**methods, "step": step}))


SGD = _without_compiler(torch.optim.SGD)
Adam = _without_compiler(torch.optim.Adam)
AdamW = _without_compiler(torch.optim.AdamW)


@dataclass(frozen=True)
class Group:
    """Parameters that train at `factor` times the learning rate of the recipe."""

    parameters: list[nn.Parameter]
    factor: float = 1.0


def build_optimizer(groups: Sequence[Group], train: Train) -> torch.optim.Optimizer:
    """Return the optimizer of `train` for the parameters in `groups`.

    Weight decay applies to parameters of two or more dimensions only, not to biases and norms.
    """
    rate = train.learning_rate or 0.0
    parameter_groups = [
        {"params": parameters, "factor": group.factor, "weight_decay": decay}
        for group in groups
        for parameters, decay in (
            ([p for p in group.parameters if p.ndim > 1], train.weight_decay or 0.0),
            ([p for p in group.parameters if p.ndim <= 1], 0.0),
        )
        if parameters
    ]
    # Fused: one pass over all parameters instead of several per parameter.
    fused = all(p.device.type in ("cpu", "cuda") for group in groups for p in group.parameters)
    if train.optimizer == "sgd":
        return SGD(parameter_groups, lr=rate, momentum=train.momentum or 0.0, fused=fused)
    if train.optimizer == "adam":
        return Adam(parameter_groups, lr=rate, fused=fused)
    assert train.optimizer == "adamw"
    return AdamW(parameter_groups, lr=rate, fused=fused)


def set_learning_rate(optimizer: torch.optim.Optimizer, train: Train, step: int, total: int) -> None:
    """Set the learning rate of step `step` of `total`: linear warm-up, then constant or cosine decay to 0.

    Loshchilov and Hutter, SGDR (2017), equation 5, without restarts.
    """
    warmup = math.ceil((train.warmup or 0.0) * total)
    if step < warmup:
        factor = (step + 1) / (warmup + 1)
    elif train.schedule == "cosine":
        factor = 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))
    else:
        factor = 1.0
    for group in optimizer.param_groups:
        group["lr"] = (train.learning_rate or 0.0) * group["factor"] * factor

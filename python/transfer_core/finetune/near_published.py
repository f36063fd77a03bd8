"""Keep fine-tuned weights near the published ones: the penalty L2-SP, and interpolation as in WiSE-FT."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from transfer_core.backbones import Backbone
from transfer_core.finetune.network import Tail, frozen_in_front
from transfer_core.finetune.phase import (
    Examples,
    same_every_epoch,
    training_dtype,
    trunk_of,
    validate,
)
from transfer_core.recipe.relations import L2Sp
from transfer_core.recipe.schema import TextOptions
from transfer_core.runtime.devices import Machine
from transfer_core.runtime.progress import Progress
from transfer_core.tasks import Criterion
from transfer_core.training.execution import open_execution

# Coefficients that are tried, 0 and 1 among them (Wortsman et al. 2022, section 3).
COEFFICIENTS = tuple(number / 10 for number in range(11))
_BATCH = 32

State = Mapping[str, Tensor]


def copied(module: nn.Module) -> State:
    """The tensors of a module, copied."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def l2_sp(backbone: Backbone, head: nn.Module, start: State, penalty: L2Sp) -> Callable[[], None]:
    """Return a function that adds the gradient of alpha / 2 |w - w₀|² + beta / 2 |v|² to the gradients.

    Here w are the trained parameters of the backbone, w₀ their values in `start`, and v the weights of the
    head.

    References
    ----------
    Li, Grandvalet and Davoine, Explicit Inductive Bias for Transfer Learning (2018), equation 2.
    """
    pairs = [(parameter, start[name]) for name, parameter in backbone.named_parameters()]
    weights = [parameter for parameter in head.parameters() if parameter.ndim > 1]
    # Not a closure: it is sent to other processes with the modules.
    return partial(_add_l2_sp, pairs, weights, penalty)


@torch.no_grad()
def _add_l2_sp(pairs: list[tuple[nn.Parameter, Tensor]], weights: list[nn.Parameter], penalty: L2Sp) -> None:
    for parameter, origin in pairs:
        if parameter.requires_grad and parameter.grad is not None:
            parameter.grad.add_(parameter - origin.to(parameter.device), alpha=penalty.alpha)
    for weight in weights:
        if weight.grad is not None:
            weight.grad.add_(weight, alpha=penalty.beta)


def interpolate(
    backbone: Backbone,
    head: nn.Sequential,
    starts: tuple[State, State],
    changed: Sequence[str],
    coefficient: float | None,
    valid: Examples,
    machine: Machine,
    criterion: Criterion,
    progress: Progress,
    text: TextOptions = TextOptions(),
) -> list[dict[str, float]]:
    """Set backbone and head to (1 - c) start + c fine-tuned, in place.

    Parameters
    ----------
    starts
        Tensors of the published backbone and of the head that was fitted on it.
    changed
        The blocks that were trained.
    coefficient
        c; None: of `COEFFICIENTS` the one with the lowest loss on `valid`, the largest of equal ones.
    valid
        Validation examples.

    Returns
    -------
    list of dict
        `coefficient` and the validation metrics of each that was tried.

    References
    ----------
    Wortsman et al., Robust Fine-Tuning of Zero-Shot Models (2022).
    """
    modules = (backbone, head)
    ends = tuple(copied(module) for module in modules)

    def move(c: float) -> None:
        for module, start, end in zip(modules, starts, ends, strict=True):
            live = module.state_dict()
            for name, tensor in start.items():
                if tensor.is_floating_point():
                    live[name].copy_(torch.lerp(tensor, end[name], c))

    if coefficient is not None:
        move(coefficient)
        return [{"coefficient": coefficient}]
    begin = frozen_in_front(backbone, changed)
    trunk = trunk_of(backbone, begin, machine, text)
    inputs = same_every_epoch(valid.dataset, len(COEFFICIENTS), trunk, _BATCH, progress)
    tried = []
    for c in COEFFICIENTS:
        progress.check()
        move(c)
        tail = Tail(backbone, head, (), begin, progress.check).eval()
        dtype = training_dtype(backbone, machine)
        with open_execution(tail, torch.device(machine.device), dtype, _BATCH, progress) as execution:
            tried.append({"coefficient": c, **validate(execution, criterion, valid, inputs)})
    best = min(reversed(tried), key=lambda entry: entry["validation_loss"])
    move(best["coefficient"])
    return tried

"""The training loop: epochs over mini-batches with a schedule, early stopping and the best state kept.

The head alone (on features in memory) and the backbone with its head (on images) are trained by this
one loop; they differ in where batches come from, and in how the gradients of one are computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from transfer_core.recipe.schema import Train
from transfer_core.runtime.errors import Problem, RecipeError
from transfer_core.runtime.progress import Progress, Step
from transfer_core.training.batch import Batch, Loss, Metrics, mean_loss
from transfer_core.training.optimizers import Group, build_optimizer, set_learning_rate
from transfer_core.training.state import LoopState


@dataclass(frozen=True)
class Source:
    """Batches per epoch: `epoch(number)` yields the same `steps` batches for the same number."""

    epoch: Callable[[int], Iterable[Batch]]
    steps: int


def train_epochs(
    module: nn.Module,
    source: Source,
    loss: Loss,
    validate: Callable[[], Metrics] | None,
    train: Train,
    step: Step,
    seed: int,
    progress: Progress,
    backward: Callable[[Batch], Tensor] | None = None,
    groups: Sequence[Group] | None = None,
) -> list[Metrics]:
    """Train the parameters of `module` that require gradients; returns the history, one entry per epoch.

    `backward` sets their gradients for a batch and gives its loss; without it the batch goes through `module`
    at once. `groups` are the same parameters where they don't all learn at the same rate.

    `validate` gives at least `validation_loss`; the state with the lowest is put back at the end, be it
    the one before the first epoch. Without it the last state stays. Dropout draws from a generator
    seeded with `seed` and the number of the epoch; the caller's random state is left as it was. With a
    `keeper` in `progress` the loop goes on after the last epoch that was kept, to the same end.

    Raises
    ------
    RecipeError
        If the loss stops being a number.
    """
    assert train.epochs
    assert train.learning_rate
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimizer = build_optimizer(groups or [Group(parameters)], train)
    backward = backward or partial(_backward, module, loss)
    total = train.epochs * source.steps
    state = LoopState(module, optimizer)
    module.eval()
    if kept := progress.keeper.found():
        state.restore(kept)
    elif validate:
        state.best.keep_if_better(validate()["validation_loss"], 0)
    with torch.random.fork_rng(devices=_cuda_devices(parameters)):
        while not _is_over(state, train, validate is not None):
            number = state.epoch + 1
            torch.manual_seed(epoch_seed(seed, number))
            module.train()
            losses: list[Tensor] = []
            rows: list[int] = []
            batches = progress.track(source.epoch(number), step, source.steps, "batches")
            for i, batch in enumerate(batches):
                set_learning_rate(optimizer, train, (number - 1) * source.steps + i, total)
                losses.append(backward(batch))
                optimizer.step()
                rows.append(len(batch))
            module.eval()
            metrics = {"loss": _row_average(losses, rows), **(validate() if validate else {})}
            _refuse_divergence(metrics["loss"], number)
            state.history.append({"epoch": number, **metrics})
            if validate:
                state.best.keep_if_better(metrics["validation_loss"], number)
            progress.keeper.keep(state.snapshot)
            progress.epoch(step, number, train.epochs, metrics)
    state.best.put_back()
    return state.history


def epoch_seed(seed: int, number: int) -> int:
    """What the random numbers of an epoch start from: they are the same whatever was computed before it.

    Not what the order of its data starts from.
    """
    return seed * 100_003 + 50_000 + number


def _is_over(state: LoopState, train: Train, validated: bool) -> bool:
    assert train.epochs
    patience = train.early_stopping if validated else 0
    waited = bool(patience) and state.epoch - state.best.epoch >= (patience or 0)
    return waited or state.epoch >= train.epochs


def _backward(module: nn.Module, loss: Loss, batch: Batch) -> Tensor:
    mean = mean_loss(loss, module(batch.inputs), batch.targets, batch.weights)
    module.zero_grad(set_to_none=True)
    mean.backward()  # type: ignore[no-untyped-call]
    return mean.detach()


def _refuse_divergence(loss: float, epoch: int) -> None:
    if not math.isfinite(loss):
        message = f"the loss became {loss} in epoch {epoch}: use a lower learning_rate"
        raise RecipeError([Problem("train", message)])


def _row_average(losses: list[Tensor], rows: list[int]) -> float:
    counts = torch.tensor(rows, dtype=torch.float64)
    return float((torch.stack(losses).double().cpu() * counts).sum() / counts.sum())


def _cuda_devices(parameters: list[nn.Parameter]) -> list[torch.device]:
    return list({p.device for p in parameters if p.device.type == "cuda"})

"""Training loop: epochs of mini-batches with a learning rate schedule, early stopping and checkpoints.

A head on embeddings and a backbone with its head are trained by this loop. They differ in the source of their
batches and in the execution that computes the gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from transfer_core.recipe.steps import Train
from transfer_core.runtime.errors import Problem, RecipeError
from transfer_core.runtime.progress import Progress, Step
from transfer_core.training.batch import BatchSource, Loss, Metrics
from transfer_core.training.checkpointer import NO_CHECKPOINTS, Checkpointer
from transfer_core.training.execution import Execution
from transfer_core.training.optimizers import Group, build_optimizer, set_learning_rate
from transfer_core.training.state import LoopState


def train_epochs(
    execution: Execution,
    source: BatchSource,
    loss: Loss,
    validate: Callable[[], Metrics] | None,
    train: Train,
    step: Step,
    seed: int,
    progress: Progress,
    checkpointer: Checkpointer = NO_CHECKPOINTS,
    groups: Sequence[Group] | None = None,
    highest: str | None = None,
    penalty: Callable[[], None] | None = None,
) -> list[Metrics]:
    """Train the parameters of `execution.module` that require gradients, in place.

    Dropout draws from a generator seeded with `seed` and the number of the epoch; the caller's random state
    is left unchanged. With a checkpoint to load, the loop resumes after the epoch that it was saved in, and
    ends with the same weights, bit by bit.

    Parameters
    ----------
    validate
        Returns at least `validation_loss`, for the module in eval mode. The best state, which may be the
        state before the first epoch, is restored at the end. None: the last state remains.
    train
        A completed `train` step: epochs, learning rate, optimizer, schedule, early stopping.
    step
        The step that progress events name.
    checkpointer
        Loads the state at the start; is offered the state after each epoch.
    groups
        The same parameters, if their learning rates differ.
    highest
        The metric of `validate` that is highest for the best state. Default: the lowest `validation_loss`.
    penalty
        Adds its gradient to those of the parameters, before each step.

    Returns
    -------
    list of Metrics
        One entry per epoch: `epoch`, `loss`, and the metrics of `validate`.

    Raises
    ------
    RecipeError
        If the loss is not finite.
    ConfigurationError
        If the checkpoint does not fit the module.
    """
    assert train.epochs
    assert train.learning_rate
    module = execution.module
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimizer = build_optimizer(groups or [Group(parameters)], train)
    total = train.epochs * source.steps
    state = LoopState(module, optimizer)
    module.eval()
    if saved := checkpointer.load():
        state.restore(saved)
    elif validate:
        state.best.keep_if_better(_badness(validate(), highest), 0)
    with torch.random.fork_rng(devices=_cuda_devices(parameters)):
        while not _is_over(state, train, validate is not None):
            number = state.epoch + 1
            torch.manual_seed(epoch_seed(seed, number))
            module.train()
            losses: list[Tensor] = []
            sizes: list[int] = []
            batches = progress.track(source.epoch(number), step, source.steps, "batches")
            for i, batch in enumerate(batches):
                set_learning_rate(optimizer, train, (number - 1) * source.steps + i, total)
                losses.append(execution.backward(batch, loss))
                if penalty:
                    penalty()
                optimizer.step()
                sizes.append(batch.examples)
            module.eval()
            metrics = {"loss": _mean_over_examples(losses, sizes), **(validate() if validate else {})}
            _check_finite(metrics["loss"], number)
            state.history.append({"epoch": number, **metrics})
            if validate:
                state.best.keep_if_better(_badness(metrics, highest), number)
            checkpointer.save(state.snapshot)
            progress.epoch(step, number, train.epochs, metrics)
    state.best.restore_module()
    return state.history


def epoch_seed(seed: int, number: int) -> int:
    """Return the seed of an epoch's random numbers: the same whatever was computed before the epoch.

    It differs from the seed of the order of the examples.
    """
    return seed * 100_003 + 50_000 + number


def _badness(metrics: Metrics, highest: str | None) -> float:
    return -metrics[highest] if highest else metrics["validation_loss"]


def _is_over(state: LoopState, train: Train, validated: bool) -> bool:
    assert train.epochs
    patience = train.early_stopping if validated else 0
    stopped = bool(patience) and state.epoch - state.best.epoch >= (patience or 0)
    return stopped or state.epoch >= train.epochs


def _check_finite(loss: float, epoch: int) -> None:
    if not math.isfinite(loss):
        message = f"the loss became {loss} in epoch {epoch}. Fix: use a lower learning_rate"
        raise RecipeError([Problem("train", message)])


def _mean_over_examples(losses: list[Tensor], sizes: list[int]) -> float:
    counts = torch.tensor(sizes, dtype=torch.float64)
    return float((torch.stack(losses).double().cpu() * counts).sum() / counts.sum())


def _cuda_devices(parameters: list[nn.Parameter]) -> list[torch.device]:
    return list({p.device for p in parameters if p.device.type == "cuda"})

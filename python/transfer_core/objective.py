"""What the outputs of a network should become: classes, or values of mean 0 and deviation 1."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from msgspec.structs import replace
from torch import Tensor

from transfer_core.data import Dataset, DataSplits
from transfer_core.errors import Problem, RecipeError, did_you_mean
from transfer_core.model_file import TargetScaling
from transfer_core.recipe import Recipe, Train

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True)
class Objective:
    """The outputs by name, and for a regression how targets are scaled."""

    labels: tuple[str, ...]
    train_counts: tuple[int, ...]
    scaling: TargetScaling | None

    def targets(self, dataset: Dataset) -> Array:
        """(N,) int64 classes, or (N, K) float32 scaled values."""
        if self.scaling is None:
            return dataset.targets
        mean, scale = np.array(self.scaling.mean), np.array(self.scaling.scale)
        scaled: Array = ((dataset.targets - mean) / scale).astype(np.float32)
        return scaled

    def weights(self, dataset: Dataset, train: Train) -> Tensor:
        """How much each example counts, (N,) float32: 1, or its class's weight.

        `balanced` is N / (C count), as in King and Zeng 2001 and scikit-learn: all classes count the same.
        """
        if self.scaling is not None or train.class_weights in (None, "none"):
            return torch.ones(len(dataset))
        if isinstance(train.class_weights, dict):
            by_class = [train.class_weights.get(label, 1.0) for label in self.labels]
        else:
            total, classes = sum(self.train_counts), len(self.labels)
            by_class = [total / (classes * max(1, count)) for count in self.train_counts]
        return torch.tensor(by_class, dtype=torch.float32)[torch.from_numpy(dataset.targets)]


def choose_objective(recipe: Recipe, splits: DataSplits) -> tuple[Recipe, Objective]:
    """The objective for this data, and the recipe with task and loss filled in.

    Raises
    ------
    RecipeError
        If the loss does not go with the task, or a class weight names no class.
    """
    loss = "cross_entropy" if splits.task == "classification" else "mean_squared_error"
    _check_train_steps(recipe, splits, loss)
    steps = tuple(replace(step, loss=loss) if isinstance(step, Train) else step for step in recipe.steps)
    recipe = replace(recipe, task=splits.task, steps=steps)
    if splits.task == "regression":
        return recipe, Objective(splits.labels, (), _scaling(splits.train.targets))
    counts = np.bincount(splits.train.targets, minlength=len(splits.labels))
    return recipe, Objective(splits.labels, tuple(counts.tolist()), None)


def _scaling(targets: Array) -> TargetScaling:
    """A constant output keeps a scale of 1; a spread below rounding is none."""
    mean, scale = targets.astype(np.float64).mean(axis=0), targets.astype(np.float64).std(axis=0)
    varies = scale > 1e-9 * np.abs(mean)
    return TargetScaling(tuple(mean.tolist()), tuple(np.where(varies, scale, 1.0).tolist()))


def _check_train_steps(recipe: Recipe, splits: DataSplits, loss: str) -> None:
    trains = [step for step in recipe.steps if isinstance(step, Train)]
    problems = [problem for train in trains for problem in _problems(train, splits, loss)]
    if problems:
        raise RecipeError(list(dict.fromkeys(problems)))


def _problems(train: Train, splits: DataSplits, loss: str) -> Iterator[Problem]:
    if train.loss not in (None, loss):
        yield Problem("loss", f"{train.loss} does not go with {splits.task}, which takes {loss}")
    if splits.task == "regression" and train.class_weights not in (None, "none"):
        yield Problem("class_weights", "a regression has no classes")
    elif isinstance(train.class_weights, dict):
        for name in train.class_weights:
            if name not in splits.labels:
                hint = did_you_mean(name, splits.labels) or f" ({_some(splits.labels)})"
                yield Problem("class_weights", f'no class is called "{name}"{hint}')


def _some(labels: Sequence[str]) -> str:
    more = ", …" if len(labels) > 5 else ""
    return f"the classes: {', '.join(labels[:5])}{more}"

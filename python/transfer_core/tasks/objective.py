"""What the outputs of a network should become: classes, labels, or values of mean 0 and deviation 1."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from msgspec.structs import replace
from torch import Tensor

from transfer_core.data import Dataset, DataSplits, Task
from transfer_core.data.dataset import label_counts
from transfer_core.model_file.format import TargetScaling
from transfer_core.recipe.schema import Loss, Recipe, Train
from transfer_core.runtime.errors import Problem, RecipeError, did_you_mean

Array: TypeAlias = npt.NDArray[Any]

_LOSSES: dict[Task, Loss] = {
    "classification": "cross_entropy",
    "multi_label": "binary_cross_entropy",
    "regression": "mean_squared_error",
}


@dataclass(frozen=True)
class Objective:
    """The outputs by name; how many training examples have each class or label, and of how many; and for a
    regression how targets are scaled."""

    labels: tuple[str, ...]
    train_counts: tuple[int, ...]
    train_size: int
    scaling: TargetScaling | None

    def targets(self, dataset: Dataset) -> Array:
        """(N,) int64 classes, (N, K) bool labels, or (N, K) float32 scaled values."""
        if self.scaling is None:
            return dataset.targets
        mean, scale = np.array(self.scaling.mean), np.array(self.scaling.scale)
        scaled: Array = ((dataset.targets - mean) / scale).astype(np.float32)
        return scaled

    def weights(self, dataset: Dataset, train: Train) -> Tensor:
        """How much each example counts, (N,) float32: 1, or its class's weight. With weights for labels, how
        much each label of an example counts, (N, K): where the example has it, and where not.

        `balanced` is N / (C count), as in King and Zeng 2001 and scikit-learn: all classes count the same; of
        each label the examples that have it and those that don't (C = 2). Weights by name are for the
        examples that have the class or label.
        """
        if self.scaling is not None or train.class_weights in (None, "none"):
            return torch.ones(len(dataset))
        targets = torch.from_numpy(dataset.targets)
        counts = torch.tensor(self.train_counts).clamp_min(1)
        several = targets.ndim == 2
        if isinstance(train.class_weights, dict):
            having = torch.tensor([train.class_weights.get(label, 1.0) for label in self.labels])
            lacking = torch.ones(len(self.labels))
        else:
            having = self.train_size / ((2 if several else len(self.labels)) * counts)
            lacking = self.train_size / (2 * (self.train_size - counts).clamp_min(1))
        return torch.where(targets, having, lacking) if several else having[targets]


def choose_objective(recipe: Recipe, splits: DataSplits) -> tuple[Recipe, Objective]:
    """The objective for this data, and the recipe with task and loss filled in.

    Raises
    ------
    RecipeError
        If the loss does not go with the task, or a class weight names no class.
    """
    loss = _LOSSES[splits.task]
    _check_train_steps(recipe, splits, loss)
    steps = tuple(replace(step, loss=loss) if isinstance(step, Train) else step for step in recipe.steps)
    recipe = replace(recipe, task=splits.task, steps=steps)
    size = len(splits.train)
    if splits.task == "regression":
        return recipe, Objective(splits.labels, (), size, _scaling(splits.train.targets))
    counts = label_counts(splits.train.targets, splits.labels)
    return recipe, Objective(splits.labels, tuple(counts.tolist()), size, None)


def _scaling(targets: Array) -> TargetScaling:
    """A constant output keeps a scale of 1; a spread below rounding is none."""
    # Large values that lie close together would lose their spread in a sum of them all.
    from_first = targets - targets[0]
    mean, scale = targets[0] + from_first.mean(axis=0), from_first.std(axis=0)
    varies = scale > 1e-12 * np.abs(mean)
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
                one, many = ("class", "classes") if splits.task == "classification" else ("label", "labels")
                hint = did_you_mean(name, splits.labels) or f" (the {many}: {_some(splits.labels)})"
                yield Problem("class_weights", f'no {one} is called "{name}"{hint}')


def _some(labels: Sequence[str]) -> str:
    return ", ".join(labels[:5]) + (", …" if len(labels) > 5 else "")

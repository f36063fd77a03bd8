"""The facts about a trained model that its header holds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from transfer_core.data import MODALITIES, Modality
from transfer_core.model.restore import restore_state, use_of
from transfer_core.model_file.format import ModelHeader
from transfer_core.model_file.header import InstanceWeights
from transfer_core.model_file.summary import summarize
from transfer_core.recipe.parser import parse_recipe
from transfer_core.recipe.schema import Recipe
from transfer_core.runtime.tables import ShownDict, html
from transfer_core.tasks import TASKS, State, Task


@dataclass(frozen=True, eq=False, repr=False)
class ModelFacts:
    """The header of a model; `path` is the file that it was saved to or loaded from."""

    path: Path
    header: ModelHeader

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of classes or labels, or of a regression's outputs."""
        return self.header.labels

    @property
    def metrics(self) -> dict[str, Any]:
        """Metrics on the held-out set; empty if there is none."""
        return ShownDict(self.header.metrics)

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings of the training: reasons to distrust data, settings or metrics."""
        return self.header.warnings

    @property
    def instance_weights(self) -> InstanceWeights | None:
        """Weights of the source examples of a training with `weigh`."""
        return self.header.instance_weights

    @property
    def history(self) -> tuple[dict[str, Any], ...]:
        """One entry per epoch, or per regularisation strength, with its phase."""
        return self.header.history

    @property
    def modality(self) -> Modality:
        """Modality of the inputs: image, text or table."""
        return MODALITIES[self.header.modality]

    @property
    def task(self) -> Task[Any]:
        """The task: targets, decoding, metrics."""
        return TASKS[self.header.task]

    @cached_property
    def state(self) -> State:
        """Statistics of the training targets, and calibration."""
        with use_of(self.path):
            return restore_state(self.header)

    @cached_property
    def recipe(self) -> Recipe:
        """Recipe of the training, with presets filled in."""
        return parse_recipe(self.header.recipe)

    def __repr__(self) -> str:
        task, labels = self.task, self.labels
        outputs = f"{len(labels)} {task.nouns}" if task.categorical else ", ".join(labels)
        return f"<Model {self.path.name}: {self.header.backbone.name}, {task.name} of {outputs}>"

    def _repr_html_(self) -> str:
        measured = {name: value for name, value in self.metrics.items() if isinstance(value, int | float)}
        facts = {"backbone": self.header.backbone.name, "task": self.task.name, "labels": self.labels}
        return html({"file": self.path.name, **facts, "metrics": measured, "warnings": self.warnings})

    def summary(self) -> dict[str, Any]:
        """All facts about the model as plain data; raises `ModelFileError` if its file is gone."""
        return summarize(self.path, self.header)

"""What one step hands to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from transfer_core.backbones import Backbone
from transfer_core.data import DataSplits
from transfer_core.finetune import Machine
from transfer_core.recipe.schema import Recipe
from transfer_core.tasks.objective import Objective


@dataclass(frozen=True)
class Chosen:
    """A backbone for the data: what every later step works with."""

    recipe: Recipe
    backbone: Backbone
    splits: DataSplits
    objective: Objective
    machine: Machine


@dataclass(frozen=True)
class Frozen(Chosen):
    """The same with embeddings; `train` has a row per view.

    `test` is None where the backbone is to change before it is measured.
    """

    train: Tensor
    valid: Tensor
    test: Tensor | None
    views: int


@dataclass(frozen=True)
class Tuned:
    """The end of training: a head, whether the backbone changed, the history, outputs (M, K) for examples
    that no step was fitted on, with their targets, and whether the head is fitted on the validation examples
    too."""

    head: nn.Sequential
    backbone_changed: bool
    history: list[dict[str, Any]]
    held_out: Tensor
    held_out_targets: Tensor
    fitted_on_valid: bool

"""The data that passes from one step to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from transfer_core.backbones import Backbone
from transfer_core.data import DataSplits
from transfer_core.finetune import Machine
from transfer_core.plan.plan import Plan
from transfer_core.tasks import PooledTask, State


@dataclass(frozen=True)
class Chosen:
    """Output of step 1: a plan, a pretrained backbone and the divided data."""

    plan: Plan
    backbone: Backbone
    splits: DataSplits
    machine: Machine


@dataclass(frozen=True)
class Frozen(Chosen):
    """Output of step 2 on pooled embeddings (N, D) of each part; `train` has `views` rows per example.

    `test` is None where the backbone changes before it is measured. `state` has the statistics of the
    training targets.
    """

    state: State
    train: Tensor
    valid: Tensor
    test: Tensor | None
    views: int

    @property
    def task(self) -> PooledTask[Any]:
        """The task of the plan."""
        assert isinstance(self.plan.task, PooledTask)
        return self.plan.task


@dataclass(frozen=True)
class Tuned:
    """Output of step 5: the head, whether the backbone changed, the history, outputs (M, K) for examples that
    no step was fitted on, with their targets, and whether the head is fitted on validation examples too."""

    head: nn.Sequential
    backbone_changed: bool
    history: list[dict[str, Any]]
    held_out: Tensor
    held_out_targets: Tensor
    fitted_on_valid: bool

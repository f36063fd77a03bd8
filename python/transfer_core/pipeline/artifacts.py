"""The data that passes from one step to the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from transfer_core.backbones.frozen import AnyBackbone
from transfer_core.data import DataSplits
from transfer_core.heads import Head
from transfer_core.model.model import Model
from transfer_core.model.predictor import SavedHead
from transfer_core.plan.plan import Plan
from transfer_core.runtime.devices import Machine
from transfer_core.tasks import PooledTask, State
from transfer_core.tasks.criteria import Array


@dataclass(frozen=True)
class Chosen:
    """Output of step 1: a plan, a pretrained backbone and the divided data.

    `base` is the model whose training continues, if there is one.
    """

    plan: Plan
    backbone: AnyBackbone
    splits: DataSplits
    machine: Machine
    base: Model | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class Taught:
    """Embeddings (N, E) of a teacher by part: `train`, `valid` and `unlabelled`; its outputs (N, K), as the
    loss takes them, where they are distilled."""

    embeddings: Mapping[str, Array]
    outputs: Mapping[str, Array]


@dataclass(frozen=True)
class Frozen(Chosen):
    """Output of step 2 on pooled embeddings (N, D) of each part; `train` has `views` rows per example.

    `test` is None where the backbone changes before it is measured. `state` has the statistics of the
    training targets. `unlabelled` are inputs of the target domain. `importance` are weights of the examples
    of `train`, then `valid` (default: equal), and `compared` heads by name, measured beside the trained one.
    `taught` is what a teacher computed for the same examples, without random views.
    """

    state: State
    train: Array
    valid: Array
    test: Array | None
    views: int
    unlabelled: Array | None = None
    importance: Array | None = None
    compared: Mapping[str, Head] = field(default_factory=dict)
    taught: Taught | None = None

    @property
    def task(self) -> PooledTask[Any]:
        """The task of the plan."""
        assert isinstance(self.plan.task, PooledTask)
        return self.plan.task


@dataclass(frozen=True)
class Trained:
    """Output of step 5 for any task.

    Attributes
    ----------
    head
        The trained head.
    backbone_changed
        Whether blocks of the backbone were trained.
    history
        One entry per epoch, or per regularization strength.
    calibrated
        Number of held-out examples that calibrate the model.
    fitted_on_valid
        Whether the head is fitted on validation examples too.
    """

    head: SavedHead
    backbone_changed: bool
    history: list[dict[str, Any]]
    calibrated: int
    fitted_on_valid: bool


@dataclass(frozen=True)
class Tuned(Trained):
    """Output of step 5 on pooled embeddings, with outputs (M, K) for examples that no step was fitted on and
    their targets, and the penalty of a linear head (see `HeadFit`)."""

    head: Head
    held_out: Array
    held_out_targets: Array
    penalty: Array | None = None

"""Blocks of the backbone that a run has trained: kept in its checkpoints and restored from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from transfer_core.backbones import Backbone
from transfer_core.finetune.lora import without_adapters
from transfer_core.plan.phases import Phase
from transfer_core.runtime.errors import ConfigurationError
from transfer_core.tasks.criteria import Array
from transfer_core.training.state import MISMATCH


def restore_backbone(backbone: Backbone, changed: Mapping[str, Array]) -> None:
    """Set the tensors of `backbone` that earlier phases changed.

    Raises
    ------
    ConfigurationError
        If they are of another backbone.
    """
    state = {name: torch.from_numpy(array) for name, array in changed.items()}
    if backbone.load_state_dict(state, strict=False).unexpected_keys:
        raise ConfigurationError(MISMATCH)


def changed_by(phases: Iterable[Phase], backbone: Backbone, but_not: Phase) -> dict[str, Tensor]:
    """The tensors of `backbone` in blocks that `phases` trained and `but_not` does not, by name."""
    state = without_adapters(backbone.state_dict())
    changed = {block for phase in phases for block in phase.changed(backbone.facts.blocks)}
    blocks = changed - set(but_not.trainable)
    return {name: tensor for name, tensor in state.items() if name.split(".")[1] in blocks}

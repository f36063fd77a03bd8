"""Phases of a training: each `train` step with the blocks that are not frozen by then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transfer_core.recipe.schema import Recipe
from transfer_core.recipe.steps import CONTRASTIVE, Freeze, Lora, Train, Unfreeze


@dataclass(frozen=True)
class Phase:
    """One `train` step.

    Attributes
    ----------
    train
        Its options.
    trainable
        The blocks of the backbone that train; none: only the head does.
    lora
        Adapters beside the dense layers of the other blocks.
    """

    train: Train
    trainable: tuple[str, ...]
    lora: Lora | None = None

    @property
    def cross_validates(self) -> bool:
        """Whether L-BFGS or scikit-learn fits the head: judged by cross-validation, it can be fitted on
        validation examples too."""
        return self.train.optimizer in ("lbfgs", None)

    @property
    def is_contrastive(self) -> bool:
        """Whether the embeddings train without the head."""
        return self.train.loss == CONTRASTIVE

    @property
    def changes_backbone(self) -> bool:
        """Whether more than the head trains."""
        return bool(self.trainable or self.lora)

    def changed(self, blocks: Sequence[str]) -> Sequence[str]:
        """Those of the backbone's `blocks` that differ afterwards; adapters may be merged into any."""
        return blocks if self.lora else self.trainable

    def title(self, blocks: int) -> str:
        """A description for progress; `blocks` is the number of all blocks."""
        beside = f"adapters of rank {self.lora.rank}" if self.lora else ""
        trained = f"{len(self.trainable)} of {blocks} blocks" if self.trainable or not beside else ""
        return " and ".join(filter(None, (trained, beside)))


def phases(recipe: Recipe, blocks: Sequence[str]) -> list[Phase]:
    """The phases of `recipe` in order; before the first step, every block of `blocks` is trainable."""
    trainable = set(blocks)
    lora = None
    found = []
    for step in recipe.steps:
        if isinstance(step, Train):
            found.append(Phase(step, tuple(block for block in blocks if block in trainable), lora))
        elif isinstance(step, Lora):
            lora = step
        elif isinstance(step, Freeze):
            trainable -= set(_frozen_by(step, blocks))
            lora = lora if step.first or step.blocks else None
        else:
            trainable |= set(unfrozen_by(step, blocks))
    return found


def _frozen_by(step: Freeze, blocks: Sequence[str]) -> Sequence[str]:
    return blocks[: step.first] if step.first else step.blocks or blocks


def unfrozen_by(step: Unfreeze, blocks: Sequence[str]) -> Sequence[str]:
    """The blocks that `step` names."""
    return blocks[-step.last :] if step.last else step.blocks or blocks

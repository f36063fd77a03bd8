"""Methods of adaptation by the steps that they go with: on a frozen backbone, or where blocks train."""

from __future__ import annotations

from collections.abc import Sequence

from transfer_core.plan.phases import phases
from transfer_core.recipe.augmentations import Mixing
from transfer_core.recipe.heads import MlpHead
from transfer_core.recipe.schema import Recipe
from transfer_core.runtime.errors import Problem, RecipeError

# Losses beside that of the labels, for networks with trainable blocks.
DEEP = ("coral", "mmd", "dann", "mcc")
# Those that need a trainable layer before the last one.
NEED_HIDDEN_LAYER = ("mmd", "dann")


def adapted_head(recipe: Recipe, blocks: Sequence[str]) -> MlpHead | None:
    """The default head of a method that needs a hidden layer on a frozen backbone; None for other recipes."""
    wanted = recipe.adapt is not None and recipe.adapt.method in NEED_HIDDEN_LAYER
    frozen = not any(phase.changes_backbone for phase in phases(recipe, blocks))
    return MlpHead() if wanted and frozen else None


def check_kinds(recipe: Recipe, blocks: Sequence[str]) -> None:
    """Raise `RecipeError` if `adapt` does not go with the steps or the head of a complete recipe."""
    if recipe.adapt is None:
        return
    _, *further = phases(recipe, blocks)
    method, deep = recipe.adapt.method, any(phase.changes_backbone for phase in further)
    message = None
    if deep and method not in DEEP:
        message = (
            f"{method} works on the embeddings of a frozen backbone. Fix: leave out unfreeze, finetune and "
            f"preset. Try: adapt: {', '.join(DEEP)}"
        )
    elif not deep and method in NEED_HIDDEN_LAYER and not isinstance(recipe.head, MlpHead):
        message = (
            f"{method} trains the hidden layer of an mlp head on a frozen backbone. Fix: leave out head, "
            "head: mlp, or unfreeze blocks"
        )
    elif deep and any(isinstance(change, Mixing) for change in recipe.augment or ()):
        message = "trains on whole images: a mixture has no domain. Fix: leave out mixup and cutmix"
    elif deep and any(phase.train.group_weights == "robust" for phase in further):
        message = "has no labels of the target for robust weights. Fix: leave out group_weights"
    elif not all(phase.changes_backbone for phase in further):
        message = "goes with one train step of the head alone. Fix: leave out the others"
    if message:
        raise RecipeError([Problem("adapt", message)])

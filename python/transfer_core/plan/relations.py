"""Relation- and model-based transfer in a plan: gradual unfreezing, and checks of the words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec.structs import replace

from transfer_core.plan.phases import Phase, phases, unfrozen_by
from transfer_core.recipe.augmentations import Mixing
from transfer_core.recipe.heads import LinearHead, MlpHead
from transfer_core.recipe.relations import L2Sp, Reuse
from transfer_core.recipe.schema import Recipe
from transfer_core.recipe.steps import Step, Train, Unfreeze
from transfer_core.runtime.errors import Problem, RecipeError
from transfer_core.tasks import Task


def with_gradual_steps(recipe: Recipe, blocks: Sequence[str]) -> Recipe:
    """Replace each `unfreeze … gradually` by an epoch per block from the top, and the train step with all.

    Howard and Ruder, ULMFiT (2018), section 3.3.
    """
    steps: list[Step] = []
    waiting: list[str] = []
    for step in recipe.steps:
        if isinstance(step, Unfreeze) and step.gradually:
            waiting = [block for block in blocks if block in unfrozen_by(step, blocks)]
        elif isinstance(step, Train) and waiting:
            *above, last = reversed(waiting)
            for block in above:
                steps += [Unfreeze(blocks=(block,)), replace(step, epochs=1)]
            steps += [Unfreeze(blocks=(last,)), step]
            waiting = []
        else:
            steps.append(step)
    return replace(recipe, steps=tuple(steps))


def reused_blocks(reuse: Reuse, blocks: Sequence[str]) -> Sequence[str]:
    """The blocks that keep their published weights."""
    return (
        blocks[: reuse.first] if reuse.first else blocks[-reuse.last :] if reuse.last else reuse.blocks or ()
    )


def check_relations(recipe: Recipe, task: Task[Any], blocks: Sequence[str]) -> None:
    """Raise `RecipeError` if distillation, regularization or reuse don't go with the steps or the task.

    Parameters
    ----------
    recipe
        With complete steps.
    task
        The task.
    blocks
        Those of the backbone.
    """
    found = phases(recipe, blocks)
    problems = [*_problems(recipe, task, found), *_reuse_problems(recipe, blocks, found)]
    if problems:
        raise RecipeError(problems)


def _problems(recipe: Recipe, task: Task[Any], found: Sequence[Phase]) -> Iterator[Problem]:
    changes = any(phase.changes_backbone for phase in found)
    for word in ("distill", "regularize"):
        if getattr(recipe, word) and task.needs != "pooled":
            yield Problem(word, f"is for heads on embeddings, and the task is {task.name}. Fix: leave it out")
            return
    if recipe.regularize and not changes:
        yield Problem("regularize", "no block of the backbone trains. Fix: unfreeze last: 3, or leave it out")
    if isinstance(recipe.regularize, L2Sp) and any(phase.lora for phase in found):
        yield Problem("regularize", "l2_sp is for whole blocks, not for adapters. Fix: unfreeze last: 3")
    if recipe.distill is None:
        return
    if not isinstance(recipe.head, LinearHead | MlpHead):
        yield Problem("distill", "distill needs a linear or mlp head. Fix: leave out head")
    if any(phase.train.group_weights not in (None, "none") for phase in found):
        yield Problem("distill", "group_weights and distill can't be combined. Fix: leave out one")
    if any(isinstance(change, Mixing) for change in recipe.augment or ()):
        yield Problem("distill", "mixed images have no outputs of a teacher. Fix: leave out mixup and cutmix")
    fixed = [relation for relation in recipe.distill.relation if relation != "kd"]
    if fixed and not changes:
        message = (
            f"{fixed[0]} compares embeddings, which a frozen backbone does not change. Fix: unfreeze last: 3"
        )
        yield Problem("distill.relation", f"{message}, or relation: :kd")


def _reuse_problems(recipe: Recipe, blocks: Sequence[str], found: Sequence[Phase]) -> Iterator[Problem]:
    reuse = recipe.reuse
    if reuse is None:
        return
    for count, word in ((reuse.first, "first"), (reuse.last, "last")):
        if count and count > len(blocks):
            yield Problem(f"reuse.{word}", f"{recipe.backbone} has only {len(blocks)} blocks (got {count})")
            return
    unknown = [name for name in reuse.blocks or () if name not in blocks]
    if unknown:
        yield Problem("reuse.blocks", f'{recipe.backbone} has no block "{unknown[0]}"')
        return
    kept = reused_blocks(reuse, blocks)
    trained = {block for phase in found for block in phase.trainable}
    left = [block for block in blocks if block not in kept and block not in trained]
    if left:
        message = f"{left[0]} would keep random weights, as no step trains it. Fix: unfreeze :all"
        yield Problem("reuse", message)

"""Defaults of a recipe by preset, written into the recipe so that `model.recipe` shows them.

This module implements `Presets` for the tasks on pooled embeddings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec.structs import asdict, replace

from transfer_core.backbones.facts import BackboneFacts
from transfer_core.plan.adapting import NEED_HIDDEN_LAYER
from transfer_core.plan.phases import Phase, phases
from transfer_core.recipe.augmentations import Augmentation, Crop
from transfer_core.recipe.heads import ClassicHead, Head, LinearHead, MlpHead
from transfer_core.recipe.relations import L2Sp
from transfer_core.recipe.schema import Recipe
from transfer_core.recipe.steps import OF_MINIBATCHES, Freeze, Optimizer, Step, Train, Unfreeze

# Fewer validation examples leave the paired test without power: only a large gain would show.
ENOUGH_TO_COMPARE = 100


class Presets(Protocol):
    """Defaults for the tasks that need one representation."""

    def preset_augmentation(self, recipe: Recipe, facts: BackboneFacts) -> tuple[Augmentation, ...]:
        """The augmentation of a recipe without one."""

    def complete_steps(self, recipe: Recipe, blocks: Sequence[str]) -> tuple[Step, ...]:
        """The user's steps or the preset's, made complete, with at least one `train` step."""

    def fill_train_steps(self, recipe: Recipe, blocks: Sequence[str]) -> tuple[Step, ...]:
        """The steps of a recipe with complete steps, with all options of its `train` steps."""


def without_fine_tuning(recipe: Recipe) -> Recipe:
    """A completed recipe up to its first `train` step, which fits the head."""
    first = next(i for i, step in enumerate(recipe.steps) if isinstance(step, Train))
    return replace(recipe, steps=recipe.steps[: first + 1])


def must_gain(recipe: Recipe) -> bool:
    """Whether fine-tuning is the preset's proposal, kept only after a significant gain; steps of the user
    without a preset are kept from the epoch with the lowest validation loss."""
    return recipe.preset != "fast"


def complete_steps(recipe: Recipe, blocks: Sequence[str]) -> tuple[Step, ...]:
    """The user's steps or the preset's, made complete: frozen at first, and the head fitted before the
    backbone changes, so that a random head can't distort its features (Kumar et al. 2022, LP-FT)."""
    steps = recipe.steps or _preset_steps(recipe, blocks)
    if not isinstance(steps[0], Freeze):
        steps = (Freeze(), *steps)
    first = phases(replace(recipe, steps=steps), blocks)[0]
    if first.changes_backbone:
        steps = (Freeze(), _weighted(first.train), Unfreeze(all=True), *steps)
    return steps


def _preset_steps(recipe: Recipe, blocks: Sequence[str]) -> tuple[Step, ...]:
    """fast: a head on frozen features; balanced: then the last quarter; best: then everything."""
    if recipe.preset == "fast":
        return (Freeze(), recipe.train)
    thaw = Unfreeze(last=-(-len(blocks) // 4)) if recipe.preset == "balanced" else Unfreeze(all=True)
    return (Freeze(), _weighted(recipe.train), thaw, recipe.train)


def _weighted(train: Train) -> Train:
    """A step with the weights of another one."""
    return Train(class_weights=train.class_weights, group_weights=train.group_weights)


def preset_augmentation(recipe: Recipe, facts: BackboneFacts) -> tuple[Augmentation, ...]:
    """The augmentation of the preset; none for steps of the user, and for texts and tables."""
    if recipe.steps or recipe.preset == "fast" or facts.modality != "image":
        return ()
    return (Crop(min_scale=0.8),)


def fill_train_steps(recipe: Recipe, blocks: Sequence[str]) -> tuple[Step, ...]:
    """Fill in all options of the `train` steps."""
    head_alone, *further = phases(recipe, blocks)
    filled = iter([_fill_head(head_alone.train, recipe), *(_fill_finetune(p, recipe) for p in further)])
    return tuple(next(filled) if isinstance(step, Train) else step for step in recipe.steps)


def _fill_head(train: Train, recipe: Recipe) -> Train:
    """Default to L-BFGS for a convex loss without mini-batch options; classic heads have no optimizer."""
    if isinstance(recipe.head, ClassicHead):
        return replace(train, class_weights=train.class_weights or "none")
    of_minibatches = any(getattr(train, word) is not None for word in OF_MINIBATCHES)
    adapted = recipe.adapt is not None and recipe.adapt.method in NEED_HIDDEN_LAYER
    optimizer = train.optimizer or ("lbfgs" if is_convex(recipe.head) and not of_minibatches else "adam")
    defaults = Train(class_weights="none") if optimizer == "lbfgs" else _head_defaults(optimizer)
    if adapted and isinstance(recipe.head, MlpHead):  # its batches depend on the sizes of the domains
        defaults = replace(defaults, epochs=30, batch_size=None)
    return filled(train, optimizer, defaults)


def _fill_finetune(phase: Phase, recipe: Recipe) -> Train:
    optimizer = phase.train.optimizer or "adamw"
    rate = 1e-3 if optimizer == "sgd" else 3e-4 if phase.lora else 1e-4
    defaults = _finetune_defaults(optimizer, rate, recipe.preset)
    if phase.is_contrastive:
        rate = rate if optimizer == "sgd" or phase.lora else 2e-5
        defaults = replace(defaults, epochs=20, learning_rate=rate, batch_size=16, early_stopping=0)
    if isinstance(recipe.regularize, L2Sp):  # in the place of a decay toward zero
        defaults = replace(defaults, weight_decay=0.0)
    return filled(phase.train, optimizer, defaults)


def filled(train: Train, optimizer: Optimizer, defaults: Train) -> Train:
    """`train` with `defaults` for the options that it leaves out."""
    given = {word: value for word, value in asdict(train).items() if value is not None}
    return replace(defaults, **{**given, "optimizer": optimizer})


def is_convex(head: Head | None) -> bool:
    """Whether the loss of a head is convex in its weights."""
    return isinstance(head, LinearHead) and head.dropout == 0


def _head_defaults(optimizer: str) -> Train:
    return Train(
        epochs=50,
        learning_rate={"sgd": 1e-2}.get(optimizer, 1e-3),
        momentum=0.9 if optimizer == "sgd" else None,
        weight_decay=1e-2 if optimizer == "adamw" else 1e-4,
        batch_size=32,
        schedule="cosine",
        warmup=0.0,
        early_stopping=10,
        class_weights="none",
    )


def _finetune_defaults(optimizer: str, learning_rate: float, preset: str) -> Train:
    return Train(
        epochs=15 if preset == "best" else 5,
        learning_rate=learning_rate,
        momentum=0.9 if optimizer == "sgd" else None,
        weight_decay=1e-2 if optimizer == "adamw" else 1e-4,
        batch_size=32,
        schedule="cosine",
        warmup=0.1,
        early_stopping=3 if preset == "balanced" else 5,
        class_weights="none",
    )

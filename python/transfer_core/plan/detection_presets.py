"""Defaults of a recipe for object detection, by preset; implements `presets.Presets`."""

from __future__ import annotations

from collections.abc import Sequence

from transfer_core.backbones.facts import BackboneFacts
from transfer_core.plan.phases import Phase, phases
from transfer_core.plan.presets import complete_steps, filled
from transfer_core.recipe.augmentations import Augmentation, Color, Crop, Flip
from transfer_core.recipe.schema import Recipe
from transfer_core.recipe.steps import Step, Train

__all__ = ["complete_steps", "fill_train_steps", "preset_augmentation"]

IMAGE_SIZE = 320


def preset_augmentation(recipe: Recipe, facts: BackboneFacts) -> tuple[Augmentation, ...]:
    """For every preset: the views are cached, so each costs one forward pass."""
    return (Flip(), Crop(min_scale=0.5), Color())


def fill_train_steps(recipe: Recipe, blocks: Sequence[str]) -> tuple[Step, ...]:
    """Fill in all options of the `train` steps."""
    found = [_fill(phase, recipe.preset) for phase in phases(recipe, blocks)]
    trains = iter(found)
    return tuple(next(trains) if isinstance(step, Train) else step for step in recipe.steps)


def _fill(phase: Phase, preset: str) -> Train:
    optimizer = phase.train.optimizer or "adamw"
    new_head = not phase.changes_backbone
    rate = 1e-3 if new_head else 2e-4
    defaults = Train(
        epochs=(60 if preset == "best" else 30) if new_head else (30 if preset == "best" else 12),
        learning_rate=1e-2 if optimizer == "sgd" else rate,
        momentum=0.9 if optimizer == "sgd" else None,
        weight_decay=1e-4 if optimizer == "sgd" else 1e-2,
        batch_size=8,
        schedule="cosine",
        warmup=0.05,
        early_stopping=10,
        class_weights="none",
    )
    return filled(phase.train, optimizer, defaults)

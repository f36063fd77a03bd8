"""Checks of the augmentations of a recipe against its task, its steps and its domains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from transfer_core.plan.checks import raise_if
from transfer_core.plan.phases import phases
from transfer_core.recipe.augmentations import (
    Augmentation,
    Crop,
    Flip,
    Mixing,
    OfBoxes,
    OfPixels,
    Style,
)
from transfer_core.recipe.schema import Recipe
from transfer_core.runtime.errors import Problem
from transfer_core.tasks import Task


def check_augmentations(recipe: Recipe, task: Task[Any], blocks: Sequence[str]) -> None:
    """Raise `RecipeError` for augmentations that do not go with a completed recipe.

    Parameters
    ----------
    recipe
        A recipe with complete steps.
    task
        The task.
    blocks
        The blocks of the backbone.
    """
    boxes = task.needs == "feature_maps"
    trains = any(phase.changes_backbone for phase in phases(recipe, blocks))
    raise_if(
        [
            Problem(f"augment[{i}]", message)
            for i, one in enumerate(recipe.augment or ())
            for message in (_of_boxes(one) if boxes else _of_images(one, recipe, trains))
        ]
    )


def _of_boxes(one: Augmentation) -> Iterator[str]:
    if not isinstance(one, Flip | Crop | OfPixels | OfBoxes):
        yield f"boxes do not follow {_name(one)}. Try: flip, crop, scale, mosaic, color"


def _of_images(one: Augmentation, recipe: Recipe, trains: bool) -> Iterator[str]:
    if isinstance(one, OfBoxes):
        yield f"{_name(one)} is for detection. Try: flip, crop, rotate, color"
    elif isinstance(one, Mixing) and not trains:
        yield f"{_name(one)} mixes images while blocks train, and all are frozen. Fix: unfreeze last: 2"
    elif isinstance(one, Style) and recipe.source is None:
        yield 'the style of a target domain needs a source domain. Fix: source: "studio/"'


def _name(one: Augmentation) -> str:
    return str(one.__struct_config__.tag)

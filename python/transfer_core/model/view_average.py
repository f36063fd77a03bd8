"""Test-time augmentation: predictions averaged over views of an image."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
import numpy as np

from transfer_core.data import Input
from transfer_core.features import Load
from transfer_core.recipe.augmentations import Augmentation, Crop, Flip, Mixing, OfBoxes, Style
from transfer_core.recipe.parser import parse_recipe
from transfer_core.runtime.errors import DataError, Problem, RecipeError

if TYPE_CHECKING:
    from transfer_core.model.inference import Inference

# Names of augmentations, or their options; True: the default ones.
Views: TypeAlias = bool | Sequence[Any]

# Without mirror images, which are wrong for texts, digits and arrows.
DEFAULT: tuple[Augmentation, ...] = (Crop(min_scale=0.8),)
# Beside the unchanged one; a mirror image alone is one view.
_RANDOM_VIEWS = 3


def augmentations_of(model: Inference, given: Views, level: float | None) -> tuple[Augmentation, ...]:
    """Check and complete the augmentations of a prediction.

    Raises
    ------
    RecipeError
        If the model has no views to average over, or a value is invalid.
    """
    if model.modality.name != "image":
        _refuse("augment", f"varies images, but this model takes {model.modality.many}")
    if model.task.needs != "pooled":
        _refuse("augment", f"averages probabilities and values, not {model.task.name}. Try: tile: true")
    if level is not None:
        _refuse("level", "prediction sets are calibrated on single views. Fix: leave out level or augment")
    if given is True:
        return DEFAULT
    found = parse_recipe({"data": "-", "backbone": "-", "augment": given}).augment or ()
    for number, one in enumerate(found):
        if isinstance(one, Mixing | OfBoxes | Style):
            name = one.__struct_config__.tag
            _refuse(f"augment[{number}]", f"{name} is for training. Try: flip, crop, rotate, color")
    if not found:
        _refuse("augment", "expected names of augmentations such as flip (got none)")
    return found


def predictions_over_views(
    model: Inference, inputs: Sequence[Input], augmentations: Sequence[Augmentation]
) -> tuple[list[dict[str, Any]], dict[int, DataError]]:
    """Predictions from outputs that are averaged over the unchanged view and random ones.

    The same for the same image, whatever other images are predicted: the random numbers depend on the number
    of the view alone. Every second view is mirrored if images are flipped.

    Returns
    -------
    predictions
        Of the readable inputs.
    bad
        The errors of the others by index.
    """
    of_predictor: Any = model.predictor
    rows, bad = model.compute(model.loads(inputs))
    sums = of_predictor.values(rows)
    given = (input for number, input in enumerate(inputs) if number not in bad)
    readable = [model.modality.from_caller(input, "an image", ()) for input in given]
    count = 1 if all(isinstance(one, Flip) for one in augmentations) else _RANDOM_VIEWS
    for view in range(count):
        changes = [_mirrored(one, view) for one in augmentations]
        loads: list[Load] = [
            partial(of_predictor.extractor.load_view, input, changes, np.random.default_rng(view))
            for input in readable
        ]
        sums = sums + of_predictor.values(model.compute_all(loads))
    return of_predictor.described(sums / (1 + count), np.asarray(rows), None), bad


def _mirrored(one: Augmentation, view: int) -> Augmentation:
    if not isinstance(one, Flip):
        return one
    return msgspec.structs.replace(one, probability=1.0 if view % 2 == 0 else 0.0)


def _refuse(word: str, message: str) -> None:
    raise RecipeError([Problem(word, message)])

"""Detections in whole photos and in overlapping tiles of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from transfer_core.data import Input
from transfer_core.data.decode import decode_image
from transfer_core.model.predictor import Computed
from transfer_core.model.restore import use_of
from transfer_core.runtime.errors import DataError, Problem, RecipeError

if TYPE_CHECKING:
    from transfer_core.model.inference import Inference


def compute_tiled(model: Inference, inputs: Sequence[Input]) -> tuple[Computed, dict[int, DataError]]:
    """As `Inference.compute`, from photos and their tiles.

    Raises
    ------
    RecipeError
        At `tile`, if the model is no detector.
    """
    if model.task.needs != "feature_maps":
        message = f"only detectors look at tiles, this is a {model.task.name} model"
        raise RecipeError([Problem("tile", message)])
    predictor: Any = model.predictor
    with use_of(model.path):
        found: tuple[Computed, dict[int, DataError]] = predictor.compute_tiled(model.loads(inputs, _decoded))
    return found


def _decoded(input: str | bytes, name: str) -> Any:
    return decode_image(input, name=None if isinstance(input, str) else name)

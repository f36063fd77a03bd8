"""Options of predictions of boxes: tiles of photos, and the least score."""

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
    predictor = _detector(model, "tile")
    with use_of(model.path):
        found: tuple[Computed, dict[int, DataError]] = predictor.compute_tiled(model.loads(inputs, _decoded))
    return found


def boxes_from(
    model: Inference, computed: Computed, level: float | None, min_score: float
) -> list[dict[str, Any]]:
    """Predictions with all boxes of at least this score.

    Raises
    ------
    RecipeError
        At `min_score`, if it is not within 0 and 1 or the model is no detector.
    """
    predictor = _detector(model, "min_score")
    if not 0 <= min_score <= 1:
        raise RecipeError([Problem("min_score", f"expected a number from 0 to 1, got {min_score:g}")])
    with use_of(model.path):
        found: list[dict[str, Any]] = predictor.predictions(computed, level, min_score)
    return found


def _detector(model: Inference, word: str) -> Any:
    if model.task.needs != "feature_maps":
        raise RecipeError([Problem(word, f"only for detectors, this is a {model.task.name} model")])
    return model.predictor


def _decoded(input: str | bytes, name: str) -> Any:
    return decode_image(input, name=None if isinstance(input, str) else name)

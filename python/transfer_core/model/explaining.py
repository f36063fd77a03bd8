"""Explain a prediction of a trained model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from PIL import Image

from transfer_core.data import Input
from transfer_core.explain.case import Attribution, Case
from transfer_core.explain.explanation import Explanation
from transfer_core.explain.methods import attribute
from transfer_core.heads import Head
from transfer_core.model.restore import Misfit, use_of
from transfer_core.runtime.errors import Problem, RecipeError, did_you_mean
from transfer_core.tasks import PooledTask
from transfer_core.tasks.criteria import VALUES, Array

if TYPE_CHECKING:
    from transfer_core.model.inference import Inference
    from transfer_core.model.pooled_predictor import PooledPredictor


def explain(
    model: Inference, input: Input, label: str | None, against: str | None, method: str = "auto"
) -> Explanation:
    """Explain the prediction for one input; see `Model.explain`."""
    check_one(model, input)
    if model.task.needs == "feature_maps":
        from transfer_core.model.explaining_boxes import explain_photo

        return explain_photo(model, input, label, against, method)
    if model.task.needs == "encoder_decoder":
        from transfer_core.model.explaining_texts import explain_text

        return explain_text(model, input, label, against, method)
    loaded = model.load(0, input, 1)
    assert isinstance(model.head, Head)
    with np.errstate(all="ignore"):  # reported below
        outputs = model.head(np.asarray(model.compute_all([partial(_same, loaded)])))[0].astype(np.float64)
    if against is not None and method == "rollout":
        raise RecipeError([Problem("against", 'rollout does not depend on labels. Fix: method "attention"')])
    place, direction, offset = _explained(model, outputs, label, against)
    case = case_of(model, input, loaded, direction, offset)
    with use_of(model.path), np.errstate(all="ignore"):
        name, found = attribute(case, method)
        score = float(outputs @ direction) + offset
        if not np.isfinite(score) or not np.isfinite(_numbers(found)).all():
            raise Misfit("its contributions are not finite numbers")
    heatmap = None if found.heatmap is None else enlarged(found.heatmap, loaded.shape[:2])
    return Explanation(
        model.labels[place],
        against,
        name,
        score,
        found.base,
        heatmap,
        None if heatmap is None else loaded,
        found.tokens,
        found.columns,
    )


def check_one(model: Inference, input: Input) -> None:
    """Check that this is one input.

    Raises
    ------
    RecipeError
        At `input`, otherwise.
    """
    if not model._is_one(input):
        raise RecipeError([Problem("input", f"expected one {model.modality.one}, got several")])


def case_of(model: Inference, input: Input, loaded: Any, direction: Array, offset: float) -> Case:
    """The case of a loaded input whose score is `outputs @ direction + offset`."""
    predictor = cast("PooledPredictor", model.predictor)
    columns = model.header.columns if model.modality.name == "table" else ()
    cells = model.modality.from_caller(input, "the row", columns) if columns else ()
    novelty = model.novelty
    return Case(
        loaded,
        model.backbone,
        cast(Head, model.head),
        columns,
        cells,
        predictor.load,
        direction,
        offset,
        None if novelty is None else novelty.examples.astype(np.float64).mean(axis=0),
        partial(_scores, model, direction, offset),
        getattr(predictor.extractor, "reader", None),
    )


def place_of(model: Inference, word: str, label: str) -> int:
    """The index of a label.

    Raises
    ------
    RecipeError
        At `word`, if the model has no such label.
    """
    if label in model.labels:
        return model.labels.index(label)
    nearest = did_you_mean(label, model.labels)
    raise RecipeError([Problem(word, f'the model has no label "{label}"{nearest or ""}')])


def other_place(model: Inference, against: str, place: int | None) -> int:
    """The index of the label `against`.

    Raises
    ------
    RecipeError
        If the model has no such label, or it is the explained one.
    """
    found = place_of(model, "against", against)
    if found == place:
        raise RecipeError([Problem("against", "expected another label than the explained one")])
    return found


def enlarged(heatmap: Array, size: Sequence[int]) -> Array:
    """A heatmap (h, w) resized to (height, width) float32."""
    height, width = size
    small = Image.fromarray(heatmap.astype(np.float32))
    return np.asarray(small.resize((width, height), Image.Resampling.BILINEAR), np.float32)


def _explained(
    model: Inference, outputs: Array, label: str | None, against: str | None
) -> tuple[int, Array, float]:
    """The index of the explained label, and its score as direction (K,) and offset."""
    task = cast("PooledTask[Any]", model.task)
    is_value = task.criterion.layout == VALUES
    place = 0 if is_value else int(outputs.argmax())
    if label is not None:
        place = place_of(model, "for", label)
    slopes, offsets = np.ones(len(outputs)), np.zeros(len(outputs))
    if is_value:
        offsets, ones = task.decode(np.array([[0.0], [1.0]]).repeat(len(outputs), 1), model.state)
        slopes = ones - offsets
    direction, offset = np.zeros(len(outputs)), float(offsets[place])
    direction[place] = slopes[place]
    if against is not None:
        other = other_place(model, against, place)
        direction[other], offset = -slopes[other], offset - float(offsets[other])
    return place, direction, offset


def _scores(model: Inference, direction: Array, offset: float, loaded: Sequence[Any]) -> Array:
    embeddings = np.asarray(model.compute_all([partial(_same, one) for one in loaded]))
    outputs = cast(Head, model.head)(embeddings).astype(np.float64)
    found: Array = outputs @ direction + offset
    return found


def _numbers(found: Attribution) -> Array:
    if found.heatmap is not None:
        return found.heatmap
    return np.array([score for _, score in found.tokens or ()] + [*(found.columns or {}).values()])


def _same(loaded: Any) -> Any:
    return loaded

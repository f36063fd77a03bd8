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
    from transfer_core.model.model import Model
    from transfer_core.model.pooled_predictor import PooledPredictor


def explain(model: Model, input: Input, label: str | None, against: str | None) -> Explanation:
    """Explain the prediction for one input; see `Model.explain`."""
    task = model.task
    if not isinstance(task, PooledTask):
        supported = "classification, multi_label and regression"
        raise RecipeError([Problem("", f"explanations are for {supported}, this is a {task.name} model")])
    if not model._is_one(input):
        raise RecipeError([Problem("input", f"expected one {model.modality.one}, got several")])
    loaded = model.load(0, input, 1)
    embedding = model.compute_all([lambda: loaded])
    assert isinstance(model.head, Head)
    with np.errstate(all="ignore"):  # reported below
        outputs = model.head(np.asarray(embedding))[0].astype(np.float64)
    place = _place(model, "for", label) if label is not None else _predicted(task, outputs)
    direction, offset = np.zeros(len(model.labels)), 0.0
    if task.criterion.layout == VALUES:
        zero, one = task.decode(np.array([[0.0], [1.0]]).repeat(len(direction), 1), model.state)[:, place]
        direction[place], offset = one - zero, float(zero)
    else:
        direction[place] = 1.0
    if against is not None:
        other = _place(model, "against", against)
        if task.criterion.layout == VALUES or other == place:
            raise RecipeError([Problem("against", "expected another label than the explained one")])
        direction[other] = -1.0
    case = _case(model, input, loaded, direction, offset)
    with use_of(model.path), np.errstate(all="ignore"):
        method, found = attribute(case)
        score = float(outputs @ direction) + offset
        if not np.isfinite(score) or not np.isfinite(_numbers(found)).all():
            raise Misfit("its contributions are not finite numbers")
    heatmap = None
    if found.heatmap is not None:
        height, width = loaded.shape[:2]
        small = Image.fromarray(found.heatmap.astype(np.float32))
        heatmap = np.asarray(small.resize((width, height), Image.Resampling.BILINEAR), np.float32)
    return Explanation(
        model.labels[place],
        against,
        method,
        score,
        found.base,
        heatmap,
        None if heatmap is None else loaded,
        found.tokens,
        found.columns,
    )


def _case(model: Model, input: Input, loaded: Any, direction: Array, offset: float) -> Case:
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


def _scores(model: Model, direction: Array, offset: float, loaded: Sequence[Any]) -> Array:
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


def _predicted(task: PooledTask[Any], outputs: Array) -> int:
    """The most probable class or label; the first output of a regression."""
    return 0 if task.criterion.layout == VALUES else int(outputs.argmax())


def _place(model: Model, word: str, label: str) -> int:
    if label in model.labels:
        return model.labels.index(label)
    nearest = did_you_mean(label, model.labels)
    raise RecipeError([Problem(word, f'the model has no label "{label}"{nearest or ""}')])

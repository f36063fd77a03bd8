"""Explain a generated text by its alignment with the source."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from transfer_core.data import Input
from transfer_core.explain.alignment import align
from transfer_core.explain.explanation import Explanation
from transfer_core.explain.methods import check_method
from transfer_core.model.restore import Misfit, use_of
from transfer_core.model.text_predictor import Source, placeholders_first
from transfer_core.runtime.errors import Problem, RecipeError

if TYPE_CHECKING:
    from transfer_core.model.inference import Inference
    from transfer_core.model.text_predictor import TextPredictor


def explain_text(
    model: Inference, input: Input, label: str | None, against: str | None, method: str
) -> Explanation:
    """The alignment of the generated text, or of the target `label`; see `Model.explain`."""
    check_method(method, ("cross_attention",))
    if against is not None:
        raise RecipeError(
            [Problem("against", "a generated text has no classes to compare. Fix: leave it out")]
        )
    if label is not None and not label.strip():
        raise RecipeError([Problem("for", "expected a text, got an empty one")])
    generator = cast("TextPredictor", model.predictor).generator
    source: Source = model.load(0, input, 1)
    with use_of(model.path):
        if label is None:
            [hypotheses] = generator.generate([source.tokens])
            best = placeholders_first(generator, source.text, hypotheses)[0]
            label, target = generator.text(best), np.array(best.tokens, np.int32)
        else:
            [target] = generator.codec.targets([label])
            target = target[: generator.limits.most]
        found, score = align(generator, source.tokens, target)
        if not np.isfinite(score) or not np.isfinite(found.weights).all():
            raise Misfit("its contributions are not finite numbers")
    return Explanation(label, None, "cross_attention", score, alignment=found)

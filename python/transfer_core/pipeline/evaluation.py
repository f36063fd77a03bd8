"""Metrics of a trained model on the test examples, compared with baselines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from transfer_core.backbones.registry import is_fitted
from transfer_core.metrics.baseline_warnings import baseline_warnings
from transfer_core.metrics.groups import group_warnings
from transfer_core.metrics.shift import coverage_warnings
from transfer_core.model.model import Model
from transfer_core.model.pooled_predictor import Embeddings, PooledPredictor
from transfer_core.pipeline.artifacts import Frozen, Tuned
from transfer_core.runtime.errors import DependencyError
from transfer_core.runtime.progress import Progress

# Metrics that are compared, of which higher is better; the first of a task decides.
_MAIN = ("accuracy", "micro_f1", "r2", "macro_f1")


def measure(draft: Model, frozen: Frozen, progress: Progress) -> tuple[dict[str, Any], Embeddings]:
    """Evaluate `draft` on the N test examples, and warn about weak metrics.

    Returns
    -------
    dict
        Metrics; empty without test examples.
    ndarray
        Embeddings (N, D) of the test examples.
    """
    test = frozen.splits.test
    if not len(test):
        progress.warning("nothing was held out, so the model was not measured")
        return {}, np.zeros((0, draft.header.embedding_width), np.float32)
    predictor, known = draft.predictor, None if frozen.plan.changes_backbone else frozen.test
    assert isinstance(predictor, PooledPredictor)
    embeddings = predictor.embed_readable(test, "raise", progress)[0] if known is None else np.asarray(known)
    measured = predictor.score(embeddings, test)
    for warning in (*baseline_warnings(measured), *group_warnings(measured, frozen.splits.modality.many)):
        progress.warning(warning)
    compared = dict(_compared(draft, frozen, measured, progress))
    return measured | compared | _of_words_alone(frozen, measured, progress), embeddings


def _compared(
    draft: Model, frozen: Frozen, metrics: Mapping[str, Any], progress: Progress
) -> Iterator[tuple[str, dict[str, float]]]:
    """Metrics of the heads fitted on one domain alone, with a warning where the source alone is better."""
    for name, head in frozen.compared.items():
        predictor = replace(draft, head=head).predictor
        assert isinstance(predictor, PooledPredictor)
        assert frozen.test is not None
        found = predictor.score(frozen.test, frozen.splits.test)
        main = {word: found[word] for word in _MAIN if word in found}
        yield name, main
        word = next(iter(main))
        if name == "source_only" and main[word] > metrics[word]:
            progress.warning(
                f"transfer lowered {word}: {metrics[word]:.3f}, and {main[word]:.3f} of a head fitted on the "
                "source alone. Try: leave out adapt and weigh, or another method"
            )


def shifted(frozen: Frozen, tuned: Tuned, metrics: Mapping[str, Any]) -> Iterator[str]:
    """Warn about distribution shift between calibration and test examples."""
    splits = frozen.splits
    yield from coverage_warnings(metrics)
    if metrics and len(tuned.held_out):
        calibration, seed = tuned.held_out_targets, frozen.plan.recipe.seed
        yield from frozen.task.shift_warnings(calibration, splits, seed)


def _of_words_alone(frozen: Frozen, metrics: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Metrics of a bag-of-words baseline on the same texts, with a warning where the model is no better."""
    splits = frozen.splits
    facts = frozen.backbone.facts
    if facts.modality != "text" or is_fitted(facts) or frozen.base:
        return {}
    try:
        found = frozen.task.text_baseline(splits.train.joined(splits.valid), splits.test)
    except DependencyError as error:
        progress.warning(f"no comparison with a bag-of-words baseline: {error}")
        return {}
    if found and metrics["macro_f1"] <= found["tfidf_macro_f1"]:
        progress.warning(
            f"words alone do as well: TF-IDF with logistic regression reaches a macro-F1 of "
            f"{found['tfidf_macro_f1']:.3f} on the same texts, this model {metrics['macro_f1']:.3f}"
        )
    return dict(found)

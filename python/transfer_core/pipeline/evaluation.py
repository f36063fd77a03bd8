"""Metrics of a trained model on the test examples, compared with baselines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from transfer_core.backbones.registry import is_fitted
from transfer_core.metrics.shift import balance_warnings, coverage_warnings
from transfer_core.metrics.shortfalls import shortfalls
from transfer_core.metrics.tfidf import tfidf_metrics
from transfer_core.model.model import Model
from transfer_core.pipeline.artifacts import Frozen, Tuned
from transfer_core.runtime.errors import DependencyError
from transfer_core.runtime.progress import Progress


def measure(draft: Model, frozen: Frozen, progress: Progress) -> dict[str, Any]:
    """The metrics of `draft` on the test examples, and warnings about them; none if nothing was held out."""
    test = frozen.splits.test
    if not len(test):
        progress.warning("nothing was held out, so the model was not measured")
        return {}
    known = frozen.test
    metrics = draft.measure(test, progress) if known is None else draft.score(known, test.targets)
    for warning in shortfalls(metrics):
        progress.warning(warning)
    return metrics | _of_words_alone(frozen, metrics, progress)


def shifted(frozen: Frozen, tuned: Tuned, metrics: Mapping[str, Any]) -> Iterator[str]:
    """Warnings if calibration and test examples are not alike."""
    splits = frozen.splits
    yield from coverage_warnings(metrics)
    if metrics and splits.task == "classification" and len(tuned.held_out):
        calibration = tuned.held_out_targets.numpy()
        yield from balance_warnings(calibration, splits.test.targets, splits.labels, frozen.recipe.seed)


def _of_words_alone(frozen: Frozen, metrics: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """What a classifier of texts must beat, on the same examples; a warning where it doesn't."""
    splits = frozen.splits
    facts = frozen.backbone.facts
    if facts.modality != "text" or is_fitted(facts) or splits.task != "classification":
        return {}
    given = splits.train.joined(splits.valid)
    try:
        found = tfidf_metrics(given.inputs, given.targets, splits.test.inputs, splits.test.targets)
    except DependencyError as error:
        progress.warning(f"it is not known whether words alone would do as well: {error}")
        return {}
    if found and metrics["macro_f1"] <= found["tfidf_macro_f1"]:
        progress.warning(
            f"words alone do as well: TF-IDF with logistic regression reaches a macro-F1 of "
            f"{found['tfidf_macro_f1']:.3f} on the same texts, this model {metrics['macro_f1']:.3f}"
        )
    return dict(found)

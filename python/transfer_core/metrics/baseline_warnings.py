"""Warnings about weak metrics: no improvement over the baseline, classes with recall 0."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from transfer_core.data.bad_input import listed


def baseline_warnings(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Warn if the main metric is no better than its baseline, or a class has recall 0; for any task.

    A model counts as no better than its baseline unless the 95 % interval of its metric lies above the
    baseline's, which is 0 for r2.

    Examples
    --------
    >>> [*baseline_warnings({"r2": 0.1, "intervals": {"r2": [-0.5, 0.3]}})]
    ['no better than always predicting the mean: r2 0.1 (95 % interval -0.5 to 0.3), the baseline 0']
    """
    if "accuracy" in metrics:
        baseline = metrics["baseline"]
        always = f"always predicting {listed([baseline['label']])}"
        yield from _no_better(metrics, "accuracy", always, baseline["accuracy"])
        missed = [row["label"] for row in metrics["per_class"] if row["support"] and not row["recall"]]
        if missed:
            yield f"no measured example of {listed(missed)} is recognised (recall 0)"
    elif "mean_average_precision" in metrics:
        reference = metrics["baseline"]["mean_average_precision"]
        yield from _no_better(metrics, "mean_average_precision", "giving all the same scores", reference)
    elif "average_precision" in metrics:
        if metrics["intervals"]:
            reference = metrics["baseline"]["average_precision"]
            yield from _no_better(metrics, "average_precision", "the mean box of each class", reference)
        missed = [row["label"] for row in metrics["per_class"] if row["support"] and not row["recall"]]
        if missed:
            yield f"no measured object of {listed(missed)} is found (recall 0)"
    elif main := next((name for name in ("rouge_l", "chrf2") if name in metrics), None):
        yield from _no_better(metrics, main, "copying the source", metrics["baseline"][main])
        if "untuned" in metrics:
            yield from _no_better(metrics, main, "the untuned model", metrics["untuned"][main])
    elif "r2" in metrics:
        yield from _no_better(metrics, "r2", "always predicting the mean", 0.0)


def _no_better(metrics: Mapping[str, Any], name: str, baseline: str, reference: float) -> Iterator[str]:
    low, high = metrics["intervals"][name]
    if low <= reference:
        yield (
            f"no better than {baseline}: {name} {metrics[name]:.3g} (95 % interval {low:.3g} to {high:.3g}), "
            f"the baseline {reference:.3g}"
        )

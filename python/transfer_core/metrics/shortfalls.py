"""Warnings about metrics that flatter: no gain over the baseline, classes that are never recognised."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from transfer_core.data.bad_input import listed


def shortfalls(metrics: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each reason to distrust the first number of `metrics`, those of any task.

    A model counts as no better than its baseline unless the 95 % interval of its metric lies above the
    baseline's, which is 0 for r2.

    Examples
    --------
    >>> [*shortfalls({"r2": 0.1, "intervals": {"r2": [-0.5, 0.3]}})]
    ['no better than always answering the mean: r2 0.1 (95 % interval -0.5 to 0.3), the baseline 0']
    """
    if "accuracy" in metrics:
        baseline = metrics["baseline"]
        always = f"always answering {listed([baseline['label']])}"
        yield from _no_better(metrics, "accuracy", always, baseline["accuracy"])
        missed = [row["label"] for row in metrics["per_class"] if row["support"] and not row["recall"]]
        if missed:
            yield f"no measured example of {listed(missed)} is recognised (recall 0)"
    elif "mean_average_precision" in metrics:
        reference = metrics["baseline"]["mean_average_precision"]
        yield from _no_better(metrics, "mean_average_precision", "giving all the same scores", reference)
    elif "r2" in metrics:
        yield from _no_better(metrics, "r2", "always answering the mean", 0.0)


def _no_better(metrics: Mapping[str, Any], name: str, baseline: str, reference: float) -> Iterator[str]:
    low, high = metrics["intervals"][name]
    if low <= reference:
        yield (
            f"no better than {baseline}: {name} {metrics[name]:.3g} (95 % interval {low:.3g} to {high:.3g}), "
            f"the baseline {reference:.3g}"
        )

"""Differences between two domains, from their embeddings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from transfer_core.kinds.arrays import Floats
from transfer_core.kinds.discriminator import separate
from transfer_core.kinds.domain_distance import effect_sizes, proxy_a_distance
from transfer_core.kinds.linear import fit_softmax, softmax
from transfer_core.kinds.mmd import mmd

_FEATURES = 10
_TYPICAL = 5
_FOLDS = 2


@dataclass(frozen=True)
class DomainReport:
    """How two domains differ.

    Attributes
    ----------
    sizes
        Numbers of inputs of both.
    proxy_a_distance
        0 (equal) to 2 (a linear classifier separates them without error).
    mmd, p_value
        Squared maximum mean discrepancy, and the p-value of the hypothesis that the domains are equal.
    features
        The features that differ most: `feature`, its name or number, and `effect`, the difference of the
        means in standard deviations, second minus first.
    classes
        For each label `share` in both domains (None where a domain has no labels) and `distance` between its
        means, relative to that between all inputs of the domains.
    confidence
        Of a classifier of the first domain: its cross-validated `accuracy` and mean confidence there
        (`first`), the mean confidence in the `second`, and the `expected_accuracy` there if accuracy falls as
        confidence does. None if the first domain has no labels.
    typical
        Inputs that are most typical of the `first` and of the `second` domain.
    """

    sizes: tuple[int, int]
    proxy_a_distance: float
    mmd: float
    p_value: float
    features: tuple[dict[str, Any], ...]
    classes: dict[str, dict[str, Any]]
    confidence: dict[str, float] | None
    typical: dict[str, list[str]]

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain data."""
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()
        }

    def __str__(self) -> str:
        lines = [
            f"{self.sizes[0]} and {self.sizes[1]} inputs",
            f"proxy A-distance {self.proxy_a_distance:.2f} (0: equal, 2: separable)",
            f"MMD² {self.mmd:.4f}, p = {self.p_value:.3g}",
        ]
        if self.confidence:
            lines.append(
                "a classifier of the first: accuracy {accuracy:.2f}, confidence {first:.2f}; in the second "
                "confidence {second:.2f}, expected accuracy {expected_accuracy:.2f}".format(**self.confidence)
            )
        for label, found in sorted(self.classes.items(), key=lambda one: -(one[1]["distance"] or 0)):
            shares = " → ".join("?" if share is None else f"{share:.1%}" for share in found["share"])
            distance = "" if found["distance"] is None else f", distance {found['distance']:.2f}"
            lines.append(f"{label}: {shares}{distance}")
        lines += [
            f"feature {one['feature']}: {one['effect']:+.2f} standard deviations" for one in self.features
        ]
        for side, names in self.typical.items():
            lines.append(f"typical of the {side}: {', '.join(names)}")
        return "\n".join(lines)


def report(
    features: tuple[Floats, Floats],
    names: tuple[Sequence[str], Sequence[str]],
    labels: tuple[Sequence[str | None], Sequence[str | None]],
    columns: Sequence[str] = (),
    seed: int = 0,
) -> DomainReport:
    """Compare two domains.

    Parameters
    ----------
    features
        (N, D) and (M, D) embeddings.
    names
        Names of the inputs, (N,) and (M,).
    labels
        Their labels; None where an input has none.
    columns
        Names of the features. Default: their numbers.
    seed
        Seed of samples and folds.

    References
    ----------
    Guillory, Shankar, Ebrahimi, Darrell and Schmidt, Predicting with Confidence on Unseen Distributions, ICCV
    2021, section 3, for the expected accuracy.
    """
    first, second = features
    separation = separate(first, second, seed=seed)
    test = mmd(first, second, seed=seed)
    effects = effect_sizes(first, second)
    most = np.argsort(-np.abs(effects))[:_FEATURES]
    order = np.argsort(separation.source), np.argsort(-separation.target)
    sides = zip(("first", "second"), names, order, strict=True)
    return DomainReport(
        sizes=(len(first), len(second)),
        proxy_a_distance=proxy_a_distance(separation),
        mmd=test.squared,
        p_value=test.p_value,
        features=tuple(
            {"feature": columns[one] if columns else int(one), "effect": float(effects[one])} for one in most
        ),
        classes=_classes(features, labels),
        confidence=_confidence(first, second, labels[0], seed),
        typical={side: [given[row] for row in rows[:_TYPICAL]] for side, given, rows in sides},
    )


def _classes(
    features: tuple[Floats, Floats], labels: tuple[Sequence[str | None], Sequence[str | None]]
) -> dict[str, dict[str, Any]]:
    counts = [Counter(label for label in part if label is not None) for part in labels]
    whole = float(np.linalg.norm(features[0].mean(axis=0) - features[1].mean(axis=0)))

    def of(label: str) -> dict[str, Any]:
        shares = [one[label] / one.total() if one else None for one in counts]
        means = [
            rows[np.array([one == label for one in part])].mean(axis=0) if count[label] else None
            for rows, part, count in zip(features, labels, counts, strict=True)
        ]
        one, other = means
        known = one is not None and other is not None and whole > 0
        distance = float(np.linalg.norm(np.subtract(one, other))) / whole if known else None  # type: ignore[arg-type]
        return {"share": shares, "distance": distance}

    return {label: of(label) for label in sorted({*counts[0], *counts[1]})}


def _confidence(
    first: Floats, second: Floats, labels: Sequence[str | None], seed: int
) -> dict[str, float] | None:
    known = np.array([label is not None for label in labels])
    names, classes = np.unique([label for label in labels if label is not None], return_inverse=True)
    if len(names) < 2 or np.bincount(classes).min() < _FOLDS:
        return None
    rows, count = first[known], len(names)
    folds = np.zeros(len(rows), int)
    rng = np.random.default_rng(seed)
    for one in range(count):  # stratified
        own = rng.permutation(np.flatnonzero(classes == one))
        folds[own] = np.arange(len(own)) % _FOLDS
    scores, others = np.zeros((len(rows), count)), np.zeros((len(second), count))
    for fold in range(_FOLDS):
        model = fit_softmax(rows[folds != fold], classes[folds != fold], count)
        scores[folds == fold] = softmax(model.outputs(rows[folds == fold]))
        others += softmax(model.outputs(second)) / _FOLDS
    accuracy = float((scores.argmax(axis=1) == classes).mean())
    inside, outside = float(scores.max(axis=1).mean()), float(others.max(axis=1).mean())
    expected = min(1.0, max(1 / count, accuracy - (inside - outside)))
    return {"accuracy": accuracy, "first": inside, "second": outside, "expected_accuracy": expected}

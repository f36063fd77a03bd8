"""Two-sample tests for distribution shift between calibration and test examples."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from transfer_core.data.bad_input import printable

# The false positive rate of a warning for exchangeable examples.
_SIGNIFICANT = 0.01
# Smaller differences of the shares of classes (total variation distance) are not worth a warning.
_DIFFERENCE = 0.1
_PERMUTATIONS = 999


def coverage_warnings(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Warn if the coverage of sets or intervals is significantly too low for exchangeable examples."""
    found = metrics.get("conformal")
    if not found:
        return
    coverages = [(row["name"], row["coverage"]) for row in found.get("per_output", [])]
    for name, coverage in coverages or [(None, found["coverage"])]:
        p_value = coverage_p_value(coverage, metrics["examples"], found["calibrated_on"], found["level"])
        if p_value < _SIGNIFICANT / max(1, len(coverages)):
            kind = "sets" if name is None else f'intervals of "{printable(name)}"'
            yield (
                f"{kind} at a level of {found['level']:g} hold the truth in {coverage:.1%} of the measured "
                f"examples (p = {p_value:.2g}): these are unlike the calibration examples. Try: train on "
                "data like that in use"
            )


def coverage_p_value(coverage: float, measured: int, calibrated: int, level: float) -> float:
    """One-sided p-value of the observed coverage for exchangeable examples.

    The number of covered examples is beta-binomial (Vovk, Conditional Validity of Inductive Conformal
    Predictors, 2012). As a two-sample test it is Mathisen's (Annals of Mathematical Statistics 14, 1943).

    Parameters
    ----------
    coverage
        Share of the measured examples that are covered, 0 to 1.
    measured
        The number of measured examples.
    calibrated
        The number of calibration examples.
    level
        The requested coverage, between 0 and 1.

    Returns
    -------
    The probability of this coverage or less.

    Examples
    --------
    >>> round(coverage_p_value(0.82, 100, 99, 0.9), 3), round(coverage_p_value(0.9, 100, 99, 0.9), 1)
    (0.051, 0.5)
    """
    rank = max(1, math.ceil(round((calibrated + 1) * level, 9)))
    a, b = rank, calibrated + 1 - rank
    covered = np.arange(measured)
    ratios = np.log((measured - covered) / (covered + 1)) + np.log(
        (covered + a) / (measured - covered - 1 + b)
    )
    logs = np.concatenate([[0.0], np.cumsum(ratios)])
    shares = np.exp(logs - logs.max())
    return float(shares[: round(coverage * measured) + 1].sum() / shares.sum())


def balance_warnings(
    calibration: npt.NDArray[Any], measured: npt.NDArray[Any], labels: Sequence[str], seed: int
) -> Iterator[str]:
    """Warn if the class frequencies of calibration and test examples differ: chi-square permutation test.

    Parameters
    ----------
    calibration
        (M,) class indices of the calibration examples.
    measured
        (N,) class indices of the test examples.
    labels
        The class names.
    seed
        Seed of the permutations.
    """
    one, other = (np.bincount(part, minlength=len(labels)) for part in (calibration, measured))
    if not one.sum() or not other.sum():
        return
    gaps = other / other.sum() - one / one.sum()
    if np.abs(gaps).sum() / 2 < _DIFFERENCE:
        return
    both, share = one + other, other.sum() / (one.sum() + other.sum())
    expected = np.maximum(both * share, 1e-9)
    drawn = np.random.default_rng(seed).multivariate_hypergeometric(
        both, int(other.sum()), size=_PERMUTATIONS, method="marginals"
    )
    statistics = ((drawn - expected) ** 2 / expected).sum(axis=1)
    if (1 + (statistics >= ((other - expected) ** 2 / expected).sum()).sum()) / (
        1 + _PERMUTATIONS
    ) < _SIGNIFICANT:
        label = int(np.abs(gaps).argmax())
        found = f"{other[label] / other.sum():.0%} and {one[label] / one.sum():.0%}"
        yield (
            f'classes are not as common among the measured examples as among the calibration examples ("'
            f'{printable(labels[label])}" {found}): scores and sets are calibrated for the latter'
        )

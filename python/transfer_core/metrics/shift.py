"""Two-sample checks that calibration and measured examples are drawn alike, as calibration assumes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from transfer_core.data.bad_input import printable

# A warning is wrong so often if the examples are drawn alike.
_SIGNIFICANT = 0.01
# Smaller differences of the shares of classes (total variation distance) are not worth a warning.
_DIFFERENCE = 0.1
_PERMUTATIONS = 999


def coverage_warnings(metrics: Mapping[str, Any]) -> Iterator[str]:
    """A warning if sets or intervals hold the truth more rarely than chance explains, were calibration and
    measured examples alike."""
    found = metrics.get("conformal")
    if not found:
        return
    coverages = [(row["name"], row["coverage"]) for row in found.get("per_output", [])]
    for name, coverage in coverages or [(None, found["coverage"])]:
        chance = chance_of_coverage(coverage, metrics["examples"], found["calibrated_on"], found["level"])
        if chance < _SIGNIFICANT / max(1, len(coverages)):
            what = "sets" if name is None else f'intervals of "{printable(name)}"'
            yield (
                f"{what} at a level of {found['level']:g} hold the truth in {coverage:.1%} of the measured "
                f"examples (p = {chance:.2g}): these are unlike the calibration examples. Try: train on data "
                "like that in use"
            )


def chance_of_coverage(coverage: float, measured: int, calibrated: int, level: float) -> float:
    """The probability of that coverage or less, if all examples are exchangeable.

    The number of covered examples is beta-binomial (Vovk, Conditional Validity of Inductive Conformal
    Predictors, 2012). As a two-sample test it is Mathisen's (Annals of Mathematical Statistics 14, 1943).

    Examples
    --------
    >>> round(chance_of_coverage(0.82, 100, 99, 0.9), 3), round(chance_of_coverage(0.9, 100, 99, 0.9), 1)
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
    """A warning if the shares of the classes differ between calibration (M,) and measured examples (N,).

    The chi-square statistic of both counts, with its distribution under random exchange of the examples.
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

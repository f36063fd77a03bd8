"""Metrics by group, and the group that the model is worst for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from transfer_core.data.bad_input import listed
from transfer_core.metrics.bootstrap import interval, resampled_counts

Floats = npt.NDArray[np.float64]

# Groups and cells of fewer examples are listed, but not compared.
ENOUGH = 10
SIGNIFICANT = 0.05
_PERMUTATIONS = 1999
_NUMBERS_AT_ONCE = 1 << 18
_WORST_CELLS = 3
# The 97.5th percentile of the standard normal distribution.
_Z = 1.959963984540054


def group_metrics(
    metric: str,
    scores: Floats,
    groups: Sequence[str | None],
    seed: int,
    lower_is_better: bool = False,
    classes: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Compare the mean score of groups.

    Parameters
    ----------
    metric
        The name of the metric, for example `accuracy`.
    scores
        (N,) scores of examples, of which the metric is the mean.
    groups
        (N,) names; None: the example is in no group.
    seed
        Seed of bootstrap and permutations.
    lower_is_better
        Whether the scores are errors.
    classes
        (N,) names of the true classes. Default: the examples have none.

    Returns
    -------
    dict
        `metric`, `per_group` with `group`, `value`, 95 % `interval` and `examples` by name, and `missing`,
        the number of examples without a group. With two groups of `ENOUGH` examples also `worst` and `best`,
        the `gap` between them with `gap_interval`, and `p_value` that a group is worse than the others by so
        much by chance. With `classes` also `worst_cells`, groups and classes of the lowest values.

    Notes
    -----
    Intervals of shares are Wilson's (1927), others percentile bootstrap; that of the gap follows from both
    (Zou and Donner 2008). Best and worst group are chosen on the same examples, so the gap is biased upwards.
    The p-value is of a permutation test of the largest standardized difference over all groups, which
    corrects for their number (Westfall and Young 1993).
    """
    names = np.array([name or "" for name in groups])
    known = np.array([name is not None for name in groups])
    per_group = [_of_group(name, scores[known & (names == name)], seed) for name in sorted(set(names[known]))]
    found: dict[str, Any] = {"metric": metric, "per_group": per_group, "missing": int((~known).sum())}
    compared = [one for one in per_group if one["examples"] >= ENOUGH]
    if len(compared) > 1:
        sign = 1 if lower_is_better else -1
        ranked = sorted(compared, key=lambda one: sign * one["value"])
        best, worst = ranked[0], ranked[-1]
        rows = known & np.isin(names, [one["group"] for one in compared])
        found |= {
            "worst": worst["group"],
            "best": best["group"],
            "gap": abs(best["value"] - worst["value"]),
            "gap_interval": _gap_interval(*sorted((worst, best), key=lambda one: float(one["value"]))),
            "p_value": _p_value(sign * scores[rows], names[rows], seed),
        }
    if classes is not None:
        found["worst_cells"] = _worst_cells(scores, names, known, np.array(classes))
    return found


def group_warnings(metrics: Mapping[str, Any], noun: str) -> Iterator[str]:
    """Warn about a group that is significantly worse than the others, and groups too small to compare.

    Parameters
    ----------
    metrics
        Metrics that may have a result of `group_metrics` as `groups`.
    noun
        Plural of an example.
    """
    groups = metrics.get("groups", {"per_group": []})
    few = [one["group"] for one in groups["per_group"] if one["examples"] < ENOUGH]
    if few:
        yield f"{listed(few)}: fewer than {ENOUGH} measured {noun}, too few to compare with other groups"
    if groups.get("p_value", 1) >= SIGNIFICANT:
        return
    worst = next(one for one in groups["per_group"] if one["group"] == groups["worst"])
    best = next(one for one in groups["per_group"] if one["group"] == groups["best"])
    low, high = worst["interval"]
    yield (
        f"the model is significantly worse for {listed([worst['group']])}: {groups['metric']} "
        f"{worst['value']:.3g} (95 % interval {low:.3g} to {high:.3g}, {worst['examples']} {noun}), and "
        f"{best['value']:.3g} for {listed([best['group']])} (p = {groups['p_value']:.2g}). "
        "Try: more examples of it, or group_weights: :balanced or :robust"
    )


def wilson_interval(successes: float, count: int) -> list[float]:
    """95 % score interval of a share (Wilson 1927)."""
    share, z2 = successes / count, _Z**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z / (1 + z2 / count) * (share * (1 - share) / count + z2 / (4 * count**2)) ** 0.5
    return [max(0.0, middle - half), min(1.0, middle + half)]


def _of_group(name: str, scores: Floats, seed: int) -> dict[str, Any]:
    if np.isin(scores, (0, 1)).all():
        bounds = wilson_interval(scores.sum(), len(scores))
    else:
        draws = resampled_counts(np.arange(len(scores)), seed)
        bounds = interval(np.concatenate([counts @ scores / len(scores) for counts in draws]))
    return {
        "group": str(name),
        "value": float(scores.mean()),
        "interval": [float(bound) for bound in bounds],
        "examples": len(scores),
    }


def _gap_interval(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> list[float]:
    """Interval of the difference of two means from the interval of each."""
    gap = upper["value"] - lower["value"]
    down = np.hypot(upper["value"] - upper["interval"][0], lower["interval"][1] - lower["value"])
    up = np.hypot(upper["interval"][1] - upper["value"], lower["value"] - lower["interval"][0])
    return [float(gap - down), float(gap + up)]


def _p_value(badness: Floats, names: npt.NDArray[np.str_], seed: int) -> float:
    _, number, counts = np.unique(names, return_inverse=True, return_counts=True)
    member = number == np.arange(len(counts))[:, None]  # (G, N)
    total, size = badness.sum(), len(badness)
    scale = np.sqrt(1 / counts + 1 / (size - counts))

    def largest(rows: Floats) -> Floats:
        sums = rows @ member.T
        differences = sums / counts - (total - sums) / (size - counts)
        found: Floats = (differences / scale).max(axis=1)
        return found

    rng = np.random.default_rng(seed)
    observed = largest(badness[None])[0] - 1e-9 * max(1.0, np.abs(badness).max())
    at_least, left = 0, _PERMUTATIONS
    while left:
        rows = min(left, max(1, _NUMBERS_AT_ONCE // size))
        shuffled = rng.permuted(np.tile(badness, (rows, 1)), axis=1)
        at_least += int((largest(shuffled) >= observed).sum())
        left -= rows
    return (1 + at_least) / (1 + _PERMUTATIONS)


def _worst_cells(
    scores: Floats,
    names: npt.NDArray[np.str_],
    known: npt.NDArray[np.bool_],
    classes: npt.NDArray[np.str_],
) -> list[dict[str, Any]]:
    pairs = sorted({(str(a), str(b)) for a, b in zip(names[known], classes[known], strict=True)})
    cells: list[dict[str, Any]] = []
    for group, label in pairs:
        own = scores[known & (names == group) & (classes == label)]
        if len(own) >= ENOUGH:
            cells.append({"group": group, "label": label, "value": float(own.mean()), "examples": len(own)})
    return sorted(cells, key=lambda one: one["value"])[:_WORST_CELLS]

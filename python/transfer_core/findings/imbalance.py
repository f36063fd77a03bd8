"""Labels with few examples, alone or compared with the most frequent one."""

from __future__ import annotations

from collections.abc import Mapping

from transfer_core.findings.examples import Finding

_RATIO = 10
_FEW = 5


def imbalance(counts: Mapping[str, int]) -> list[Finding]:
    """Labels with less than a tenth of the examples of the most frequent one, or fewer than 5.

    Parameters
    ----------
    counts
        Label to number of examples. The `score` of a finding is the share of the most frequent label's.
    """
    most = max(counts.values(), default=0)
    found = []
    for label, count in sorted(counts.items(), key=lambda pair: pair[1]):
        if count * _RATIO < most:
            detail = f"{count} examples, the most frequent label has {most}"
        elif count < _FEW:
            detail = f"{count} examples: too few to measure its recall"
        else:
            continue
        found.append(Finding("imbalance", detail, label=label, score=count / most))
    return found

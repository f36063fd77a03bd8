"""Properties beside the content that predict the label: file, size, name, border, length."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from transfer_core.findings.examples import Examples, Finding
from transfer_core.findings.single_feature import strength_of

_SIGNIFICANT = 0.01
_GAIN = 0.1


def spurious_cues(examples: Examples, cues: Mapping[str, Sequence[Any]], seed: int) -> list[Finding]:
    """Cues that predict the label by at least 10 points better than the most frequent label.

    Parameters
    ----------
    examples
        N examples.
    cues
        Name of a property to its N values. The `score` of a finding is the cross-validated accuracy.
    seed
        Seed of the folds.
    """
    found = []
    for name, values in cues.items():
        accuracy, baseline, p_value = strength_of(values, examples.classes, seed)
        if accuracy - baseline >= _GAIN and p_value * len(cues) < _SIGNIFICANT:
            found.append(
                Finding(
                    "spurious_cue",
                    f"the {name} alone predicts {accuracy:.1%} of the labels (baseline {baseline:.1%}, "
                    f"p = {p_value:.1g})",
                    score=accuracy,
                )
            )
    return sorted(found, key=lambda one: -(one.score or 0))


def name_pattern(path: str, label: str) -> str:
    """The pattern of a file name: numbers as `#`, without the label.

    >>> name_pattern("photos/cat/IMG_0012-cat.JPG", "cat")
    'IMG_#-.JPG'
    """
    name = os.path.basename(path)
    without = re.sub(re.escape(label), "", name, flags=re.IGNORECASE) if label else name
    return re.sub(r"[0-9]+", "#", without)

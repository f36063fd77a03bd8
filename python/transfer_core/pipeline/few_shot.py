"""Few examples per class: choose between the linear and the cosine head."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from transfer_core.heads import HeadFit
from transfer_core.metrics import fit_temperature
from transfer_core.pipeline.artifacts import Frozen
from transfer_core.pipeline.frozen_head import fit_frozen_head
from transfer_core.recipe.heads import CosineHead
from transfer_core.runtime.progress import Progress
from transfer_core.tasks.criteria import CLASSES, softmax

# Mean number of examples per class up to which the cosine head is a candidate.
FEW = 5


def has_few_examples(frozen: Frozen) -> bool:
    """Whether a classification has few examples per class, and the default head."""
    splits = frozen.splits
    if frozen.taught or splits.domains:
        return False
    if not frozen.plan.proposes_head or frozen.task.criterion.layout != CLASSES:
        return False
    return len(splits.train) + len(splits.valid) <= FEW * len(splits.labels)


def fit_few_shot(frozen: Frozen, progress: Progress) -> tuple[Frozen, HeadFit]:
    """Fit the linear and the cosine head, and return the one with the lower calibrated out-of-fold log loss.

    It is the cosine head where each class has one example, and nothing can be held out.
    """
    cosine = replace(frozen, plan=frozen.plan.with_head(CosineHead()))
    by_means = fit_frozen_head(cosine, True, progress)
    if not len(by_means.held_out):
        return cosine, by_means
    linear = fit_frozen_head(frozen, True, progress)
    if _log_loss(by_means) < _log_loss(linear):
        return cosine, by_means
    return frozen, linear


def _log_loss(fitted: HeadFit) -> float:
    """Out-of-fold log loss at the best temperature."""
    outputs, targets = fitted.held_out.astype(np.float64), fitted.held_out_targets
    probabilities = softmax(outputs / fit_temperature(outputs, targets))
    return float(-np.log(np.maximum(probabilities[np.arange(len(targets)), targets], 1e-12)).mean())

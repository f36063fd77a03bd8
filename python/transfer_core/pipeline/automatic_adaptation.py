"""Choose a method of adaptation without labels of the target, or none (`adapt :auto`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from transfer_core.heads import HeadFit
from transfer_core.kinds.mmd import mmd
from transfer_core.kinds.reverse_validation import reverse_hits
from transfer_core.kinds.selection import mutual_information
from transfer_core.pipeline.adaptation import CLASSIFIERS, fit_adapted
from transfer_core.pipeline.artifacts import Frozen
from transfer_core.pipeline.domains import domains_of
from transfer_core.recipe.heads import LinearHead
from transfer_core.recipe.kinds import Adapt, AdaptMethod
from transfer_core.runtime.progress import Progress
from transfer_core.tasks.criteria import softmax

# The methods in the order in which they are preferred; the first that passes is taken.
_PREFERRED: tuple[AdaptMethod, ...] = ("ensemble", "mcc", "mixture", "coral")
# The probability of a false alarm of the test whether the domains differ at all.
_SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Chosen:
    """The chosen head, the `method` (None: the source alone), and the reason as a sentence."""

    fitted: HeadFit
    method: str | None
    reason: str


def choose_adaptation(frozen: Frozen, source_only: HeadFit, with_valid: bool, progress: Progress) -> Chosen:
    """Fit the preferred methods, and take the first that passes reverse validation.

    A method passes if a classifier that is trained on the target with the method's predictions as labels, and
    adapted back, predicts the labels of the source no worse than with the predictions of the source-only
    head, and its predictions have more mutual information with the inputs.

    Parameters
    ----------
    frozen
        Embeddings of both domains.
    source_only
        The head fitted without adaptation, which is kept if no method passes.
    with_valid, progress
        As for `fit_frozen_head`.
    """
    if frozen.task.name != "classification":
        reason = (
            f"adapt auto: no criterion without target labels for {frozen.task.name}, the head is fitted on "
        )
        return Chosen(source_only, None, f"{reason}both domains as they are. Try: adapt: coral")
    domains = domains_of(frozen)
    seed = frozen.plan.recipe.seed
    if min(len(domains.source), len(domains.target)) > 1:
        test = mmd(domains.source, domains.target, permutations=199, seed=seed)
        if test.p_value > _SIGNIFICANT:
            differ = f"the domains do not differ significantly (MMD, p = {test.p_value:.2g})"
            return Chosen(source_only, None, f"adapt auto: {differ}, nothing was adapted")
    count = len(frozen.splits.labels)

    def judged(fitted: HeadFit) -> tuple[np.ndarray, float]:
        scores = softmax(fitted.head(domains.target).astype(np.float64))
        labels = scores.argmax(axis=1)
        return reverse_hits(
            domains.source, domains.targets, domains.target, labels, count
        ), mutual_information(scores)

    base, informed = judged(source_only)
    linear = isinstance(frozen.plan.recipe.head, LinearHead)
    for method in _PREFERRED:
        if method in CLASSIFIERS and not linear:
            continue
        progress.check()
        fitted = fit_adapted(frozen, Adapt(method), with_valid, Progress(cancelled=progress.cancelled))
        hits, information = judged(fitted)
        error = float((hits - base).std() / np.sqrt(len(hits)))
        if hits.mean() >= base.mean() and information > informed:
            numbers = f"{hits.mean():.3f} ± {error:.3f}, {base.mean():.3f} with the source alone"
            reason = (
                f"adapt auto: {method}, by reverse validation (accuracy {numbers}), without target labels"
            )
            return Chosen(fitted, method, reason)
    return Chosen(
        source_only,
        None,
        "adapt auto: no method passed reverse validation, the head is fitted on the source alone",
    )

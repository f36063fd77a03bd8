"""Weights of the examples of a source domain (instance-based transfer)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NoReturn

import numpy as np

from transfer_core.kinds.discriminator import discriminator
from transfer_core.kinds.example_weights import effective_sample_size, normalized
from transfer_core.kinds.kliep import kliep
from transfer_core.kinds.kmm import kmm
from transfer_core.kinds.label_shift import label_shift
from transfer_core.kinds.linear import fit_ridge, fit_softmax, softmax
from transfer_core.kinds.tradaboost import tradaboost, tradaboost_r2
from transfer_core.kinds.ulsif import ulsif
from transfer_core.pipeline.artifacts import Frozen
from transfer_core.pipeline.domains import Domains, domains_of
from transfer_core.recipe.kinds import Weigh
from transfer_core.runtime.errors import Problem, RecipeError
from transfer_core.runtime.progress import Progress
from transfer_core.tasks.criteria import Array

_DENSITY_RATIOS: Mapping[str, Callable[[Array, Array], Array]] = {
    "kmm": kmm,
    "kliep": kliep,
    "ulsif": ulsif,
    "discriminator": discriminator,
}
# A smaller share of the source counts, in effect: the estimate has a large variance.
_FEW = 0.1
# Weights of 0 would leave folds of a cross-validation without any example.
_LEAST = 1e-3


def weighted(frozen: Frozen, weigh: Weigh, progress: Progress) -> Frozen:
    """`frozen` with weights of its source examples; warns where few of them count.

    Raises
    ------
    RecipeError
        If the method does not go with the task, or needs labelled or any inputs of the target.
    """
    domains = domains_of(frozen)
    weights = normalized(np.clip(normalized(_weights(frozen, weigh, domains, progress)), _LEAST, weigh.limit))
    effective = effective_sample_size(weights)
    if effective < _FEW * len(weights):
        progress.warning(
            f"weigh {weigh.method}: {len(weights)} source {frozen.splits.modality.many} count as "
            f"{effective:.0f} equally weighted ones: few resemble the target. Try: a smaller limit, or adapt"
        )
    parts = frozen.splits.train, frozen.splits.valid
    found = [np.ones(len(part), np.float32) for part in parts]
    middle = int(parts[0].from_source.sum())
    for one, part, rows in zip(found, parts, np.split(weights, [middle]), strict=True):
        one[part.from_source] = rows
    return replace(frozen, importance=np.concatenate(found))


def _weights(frozen: Frozen, weigh: Weigh, domains: Domains, progress: Progress) -> Array:
    if not len(domains.target):
        _refuse('the target domain has no training inputs. Fix: unlabelled: "…"')
    if weigh.method in _DENSITY_RATIOS:
        found: Array = _DENSITY_RATIOS[weigh.method](domains.source, domains.target)
        return found
    if weigh.method == "label_shift":
        return _of_shifted_labels(frozen, domains, progress)
    return _boosted(frozen, domains)


def _of_shifted_labels(frozen: Frozen, domains: Domains, progress: Progress) -> Array:
    """The ratio of the shares of each example's class, from a classifier cross-fitted on the source; equal
    weights with a warning where its confusion matrix is singular."""
    if frozen.task.name != "classification":
        _refuse(f"label_shift is for classification, and the task is {frozen.task.name}. Try: weigh: kmm")
    count, classes = len(frozen.splits.labels), domains.targets
    folds = np.random.default_rng(frozen.plan.recipe.seed).permutation(len(classes)) % 2
    scores, target = np.zeros((len(classes), count)), np.zeros((len(domains.target), count))
    for fold in (0, 1):
        model = fit_softmax(domains.source[folds != fold], classes[folds != fold], count)
        scores[folds == fold] = softmax(model.outputs(domains.source[folds == fold]))
        target += softmax(model.outputs(domains.target)) / 2
    found = label_shift(scores, classes, target)
    if found is None:
        progress.warning(
            "weigh label_shift: the source's classifier confuses some classes too much to estimate their "
            "shares in the target; the source was not weighted"
        )
        return np.ones(len(classes))
    ratios: Array = found.ratios[classes]
    return ratios


def _boosted(frozen: Frozen, domains: Domains) -> Array:
    """Weights of TrAdaBoost, or of TrAdaBoost.R2 for a regression, on the principal components."""
    labelled = domains.labelled
    if len(labelled) < 2:
        _refuse("tradaboost needs labelled examples of the target for training. Try: weigh: discriminator")
    if frozen.task.name == "classification":
        count = len(frozen.splits.labels)

        def classify(features: Array, classes: Array, weights: Array) -> Array:
            found: Array = fit_softmax(features, classes, count, weights).outputs(features).argmax(axis=1)
            return found

        return tradaboost(
            domains.source, domains.targets, labelled, domains.labelled_targets, classify
        ).source
    if frozen.task.name == "regression":

        def regress(features: Array, values: Array, weights: Array) -> Array:
            return fit_ridge(features, values, weights, 0.1).outputs(features)

        return tradaboost_r2(
            domains.source, domains.targets, labelled, domains.labelled_targets, regress
        ).source
    _refuse(f"tradaboost is for classification and regression, and the task is {frozen.task.name}")


def _refuse(message: str) -> NoReturn:
    raise RecipeError([Problem("weigh", message)])

"""Fit a head on embeddings of two domains that are brought together (feature-based transfer)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NoReturn

import numpy as np

from transfer_core.heads import HeadFit
from transfer_core.heads.dense import DenseHead, named
from transfer_core.kinds.class_confusion import minimum_class_confusion
from transfer_core.kinds.coral import coral
from transfer_core.kinds.mixture import mixture
from transfer_core.kinds.optimal_transport import optimal_transport
from transfer_core.kinds.propagation import propagation
from transfer_core.kinds.subspace import subspace
from transfer_core.kinds.tca import tca
from transfer_core.pipeline.artifacts import Frozen
from transfer_core.pipeline.deep_adaptation import fit_deep_head
from transfer_core.pipeline.domains import Domains, domains_of
from transfer_core.pipeline.frozen_head import fit_frozen_head
from transfer_core.plan.adapting import NEED_HIDDEN_LAYER
from transfer_core.recipe.heads import LinearHead, MlpHead
from transfer_core.recipe.kinds import Adapt
from transfer_core.runtime.errors import Problem, RecipeError
from transfer_core.runtime.progress import Progress
from transfer_core.tasks.criteria import Array
from transfer_core.training.checkpointer import NO_CHECKPOINTS, Checkpointer

# Regularization of CORAL as a share of the mean variance: covariances of few embeddings are rough.
_RIDGE = 1.0
_COMPONENTS = 80
# The mean over two numbers depends less on either.
_MIXED_COMPONENTS = (32, 64)
# Of the entropic plan, as a share of the median cost.
_ENTROPY = 0.02


def fit_adapted(
    frozen: Frozen,
    adapt: Adapt,
    with_valid: bool,
    progress: Progress,
    checkpointer: Checkpointer = NO_CHECKPOINTS,
) -> HeadFit:
    """Fit the head of the plan after `adapt`; it takes embeddings of the target as they are.

    Parameters
    ----------
    frozen
        Embeddings of both domains.
    adapt
        Any method but `auto`.
    with_valid, progress, checkpointer
        As for `fit_frozen_head`.

    Raises
    ------
    RecipeError
        If the method does not go with the task or the head, or the target has no inputs to adapt to.
    """
    domains = domains_of(frozen)
    if not len(domains.target):
        _refuse('the target domain has no training inputs. Fix: unlabelled: "…"')
    if adapt.method in NEED_HIDDEN_LAYER:
        # Of domains that a discriminator separates without error, its gradient vanishes.
        move = coral(domains.source, domains.target, _RIDGE).source
        return fit_deep_head(_aligned(frozen, move, _unchanged), progress, checkpointer)
    if adapt.method in CLASSIFIERS:
        return _fit_classifier(frozen, adapt, domains)
    return _ALIGNMENTS[adapt.method](frozen, adapt, domains, with_valid, progress)


def _aligned(frozen: Frozen, move: Callable[[Array], Array], settle: Callable[[Array], Array]) -> Frozen:
    """Training and validation embeddings of the source through `move`, and of the target through `settle`."""

    def mapped(rows: Array, of_source: Array) -> Array:
        moved, settled = move(rows[of_source]), settle(rows[~of_source])
        found = np.empty((len(rows), moved.shape[1]), rows.dtype)
        found[of_source], found[~of_source] = moved, settled
        return found

    splits = frozen.splits
    return replace(
        frozen,
        train=mapped(frozen.train, splits.train.from_source.repeat(frozen.views)),
        valid=mapped(frozen.valid, splits.valid.from_source),
    )


def _unchanged(rows: Array) -> Array:
    return rows


def _coral(frozen: Frozen, adapt: Adapt, domains: Domains, with_valid: bool, progress: Progress) -> HeadFit:
    found = coral(domains.source, domains.target, adapt.strength or _RIDGE)
    return fit_frozen_head(_aligned(frozen, found.source, _unchanged), with_valid, progress)


def _common_space(
    frozen: Frozen, adapt: Adapt, domains: Domains, with_valid: bool, progress: Progress
) -> HeadFit:
    """Subspace alignment or TCA, whose map of the target is folded into the head."""
    if not isinstance(frozen.plan.recipe.head, LinearHead | MlpHead):
        _refuse(f"{adapt.method} needs a linear or mlp head, into which its map is folded")
    components = adapt.components or _COMPONENTS
    if adapt.method == "subspace":
        found = subspace(domains.source, domains.target, components)
    else:
        found = tca(domains.source, domains.target, components, adapt.strength or 1.0)
    assert found.target
    fitted = fit_frozen_head(_aligned(frozen, found.source, found.target), with_valid, progress)
    assert isinstance(fitted.head, DenseHead)
    return replace(fitted, head=fitted.head.after_dense(*found.target.weight_and_bias), penalty=None)


def _transport(
    frozen: Frozen, adapt: Adapt, domains: Domains, with_valid: bool, progress: Progress
) -> HeadFit:
    """Optimal transport of the source; random views move as their examples do."""
    classes = domains.targets if frozen.task.name == "classification" else None
    seed = frozen.plan.recipe.seed
    moved = optimal_transport(domains.source, domains.target, classes, adapt.strength or _ENTROPY, seed=seed)
    shift = moved - domains.source
    trained = int(frozen.splits.train.from_source.sum())
    shifts = iter((shift[:trained].repeat(frozen.views, axis=0), shift[trained:]))
    return fit_frozen_head(
        _aligned(frozen, lambda rows: rows + next(shifts), _unchanged), with_valid, progress
    )


_ALIGNMENTS: Mapping[str, Callable[[Frozen, Adapt, Domains, bool, Progress], HeadFit]] = {
    "coral": _coral,
    "subspace": _common_space,
    "tca": _common_space,
    "optimal_transport": _transport,
}
# Methods that fit a linear classifier themselves.
CLASSIFIERS = ("mixture", "mcc", "propagation", "ensemble")


def _fit_classifier(frozen: Frozen, adapt: Adapt, domains: Domains) -> HeadFit:
    """A linear head by EM, minimum class confusion or label propagation, or the mean of all; calibrated on
    aligned source examples."""
    if frozen.task.name != "classification":
        _refuse(f"{adapt.method} is for classification, and the task is {frozen.task.name}. Try: coral")
    if not isinstance(frozen.plan.recipe.head, LinearHead):
        _refuse(f"{adapt.method} fits a linear head itself. Fix: leave out head, or head: linear")
    aligned = coral(domains.source, domains.target, _RIDGE).source(domains.source)
    layers = []
    if adapt.method in ("mixture", "ensemble"):
        layers.append(_mixture(frozen, adapt, domains))
    if adapt.method in ("mcc", "ensemble"):
        layers.append(_least_confused(frozen, adapt, domains, aligned))
    if adapt.method in ("propagation", "ensemble"):
        layers.append(_propagated(frozen, domains, aligned))
    weight, bias = (np.mean(part, axis=0) for part in zip(*layers, strict=True))
    head = DenseHead(named(0, np.asarray(weight, np.float32), np.asarray(bias, np.float32)))
    return HeadFit(head, [], head(aligned), domains.targets)


def _mixture(frozen: Frozen, adapt: Adapt, domains: Domains) -> tuple[Array, Array]:
    count = len(frozen.splits.labels)
    sizes = (adapt.components,) if adapt.components else _MIXED_COMPONENTS
    layer = mixture(domains.source, domains.targets, domains.target, count, domains.known, sizes)
    return layer.weight, layer.bias


def _propagated(frozen: Frozen, domains: Domains, aligned: Array) -> tuple[Array, Array]:
    rows = np.concatenate([aligned, domains.labelled])
    classes = np.concatenate([domains.targets, domains.labelled_targets])
    count, seed = len(frozen.splits.labels), frozen.plan.recipe.seed
    return propagation(rows, classes, domains.target, count, seed=seed).layer()


def _least_confused(frozen: Frozen, adapt: Adapt, domains: Domains, aligned: Array) -> tuple[Array, Array]:
    rows = np.concatenate([aligned, domains.labelled])
    classes = np.concatenate([domains.targets, domains.labelled_targets])
    strength = adapt.strength or 1.0
    return minimum_class_confusion(rows, classes, domains.target, len(frozen.splits.labels), strength).layer()


def _refuse(message: str) -> NoReturn:
    raise RecipeError([Problem("adapt", message)])

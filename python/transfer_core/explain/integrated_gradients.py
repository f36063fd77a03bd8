"""Integrated gradients (Sundararajan et al. 2017) of heads of dense layers, on features and on words."""

from __future__ import annotations

from typing import Any

import numpy as np

from transfer_core.explain.case import Attribution, Case
from transfer_core.explain.linear import embedding_of, feature_owners, feature_terms, mean_of
from transfer_core.heads.dense import DenseHead
from transfer_core.tasks.criteria import Array

# Points on the path through the head, which costs little, and through a whole encoder.
HEAD_STEPS, ENCODER_STEPS = 512, 32


def integrated_row(case: Case) -> Attribution | None:
    """Integrated gradients of each column, from the mean training example to the row.

    `base` is the score of the mean training example; with the contributions it adds up to the score.
    """
    owners = feature_owners(case)
    if not isinstance(case.head, DenseHead) or owners is None:
        return None
    x = embedding_of(case)
    base, products = _through_head(case, case.head, x, mean_of(case, len(x)))
    if len(owners) != len(products):
        return None
    sums = np.bincount(owners, products, len(case.columns))
    return Attribution(columns=dict(zip(case.columns, sums.tolist(), strict=True)), base=base)


def integrated_text(case: Case) -> Attribution | None:
    """Integrated gradients of the terms of a text, or of its words by their token embeddings.

    Terms are compared with their means in the training examples, the largest contribution first; words with
    token embeddings of zero, in order.
    """
    terms = feature_terms(case)
    if isinstance(case.head, DenseHead) and terms is not None:
        x = embedding_of(case)
        start = np.where(x != 0, mean_of(case, len(x)), 0.0)
        base, products = _through_head(case, case.head, x, start)
        present = [(terms[at], float(products[at])) for at in np.flatnonzero(x).tolist() if at in terms]
        return Attribution(tokens=tuple(sorted(present, key=lambda one: -abs(one[1]))), base=base)
    return _through_encoder(case)


def _through_head(case: Case, head: DenseHead, x: Array, start: Array) -> tuple[float, Array]:
    """The score of `start` (D,), and (D,) contributions of the features of x from there."""
    steps = (np.arange(HEAD_STEPS) + 0.5) / HEAD_STEPS
    path = start + steps[:, None] * (x - start)
    contributions: Array = (x - start) * _gradients(head, path, case.direction).mean(axis=0)
    base = head(start[None].astype(np.float32))[0].astype(np.float64) @ case.direction + case.offset
    return float(base), contributions


def _gradients(head: DenseHead, inputs: Array, direction: Array) -> Array:
    """∂(outputs @ direction)/∂input at each of N inputs, (N, D)."""
    arrays = {name: array.astype(np.float64) for name, array in head.state_dict().items()}
    layers = sorted({int(name.partition(".")[0]) for name in arrays})
    active, x = [], inputs
    for layer in layers[:-1]:
        x = x @ arrays[f"{layer}.weight"].T + arrays[f"{layer}.bias"]
        active.append(x > 0)
        x = np.maximum(x, 0)
    gradient = np.broadcast_to(direction @ arrays[f"{layers[-1]}.weight"], (len(inputs), x.shape[1]))
    for layer, mask in zip(reversed(layers[:-1]), reversed(active), strict=True):
        gradient = (gradient * mask) @ arrays[f"{layer}.weight"]
    return gradient


def _through_encoder(case: Case) -> Attribution | None:
    """Words by the path from zero token embeddings; `base` is the score near its start."""
    import torch

    from transfer_core.explain.class_activation import differentiable, score_of

    if case.reader is None or not differentiable(case):
        return None
    backbone: Any = case.backbone.module()
    tokens, words = case.reader.words(case.loaded)
    with torch.no_grad():
        whole = backbone.blocks[0](torch.from_numpy(tokens)[None])  # (1, L, D)
    steps = (torch.arange(ENCODER_STEPS) + 0.5) / ENCODER_STEPS
    total = torch.zeros_like(whole)
    with torch.enable_grad():
        for step in steps:
            part = (step * whole).requires_grad_()
            score = score_of(case, backbone.pool(backbone.blocks[1:](part)))
            total += torch.autograd.grad(score, part)[0]
    with torch.no_grad():
        # At zero itself all tokens would be taken for padding.
        base = float(score_of(case, backbone.pool(backbone.blocks[1:](1e-4 * whole))))
    sums = (whole * total / ENCODER_STEPS)[0].sum(dim=1).double().numpy()
    found = tuple((word, float(sums[places].sum())) for word, places in words)
    return Attribution(tokens=found, base=base + float(sums.sum()) - sum(score for _, score in found))

"""Relevance of tokens by attention: gradient-weighted (Chefer et al. 2021, section 3.1) and rolled out
(Abnar and Zuidema 2020)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from transfer_core.backbones.backbone import Backbone
from transfer_core.explain.attention_recorder import AttentionRecorder
from transfer_core.explain.case import Attribution, Case
from transfer_core.explain.class_activation import differentiable, image_tensor, score_of
from transfer_core.runtime.devices import torch_threads
from transfer_core.tasks.criteria import Array


class Recorded(NamedTuple):
    """A forward pass: attention maps (1, heads, L, L) of each layer, the last states, and the score."""

    maps: list[Tensor]
    states: Any
    score: Tensor


# From a recorded pass to the relevance (L,) of each token.
Relevance: TypeAlias = Callable[[Recorded], Array]


def attended_image(case: Case) -> Attribution | None:
    """Gradient-weighted relevance of the patches; None if the backbone has no attention over all patches."""
    return _of_image(case, gradient_weighted)


def attended_text(case: Case) -> Attribution | None:
    """Gradient-weighted relevance of the words of a text, each the sum over its tokens."""
    return _of_text(case, gradient_weighted)


def rolled_out_image(case: Case) -> Attribution | None:
    """Attention rollout to the patches, which does not depend on the label; None as `attended_image`."""
    return _of_image(case, rolled_out)


def rolled_out_text(case: Case) -> Attribution | None:
    """Attention rollout to the words of a text, which does not depend on the label."""
    return _of_text(case, rolled_out)


def relevance_by_attention(case: Case, inputs: Tensor, relevance: Relevance | None = None) -> Array | None:
    """Relevance (L,) of each token, not negative; None if attention is not over all tokens."""
    backbone = case.backbone.module()
    with torch_threads(1), torch.enable_grad():  # as in `class_activation`
        maps, states = record(backbone, inputs)
        if maps is None or not isinstance(states, Tensor):
            return None
        score = score_of(case, backbone.pool(states))
        return (relevance or gradient_weighted)(Recorded(maps, states, score))


def record(backbone: Backbone, inputs: Tensor) -> tuple[list[Tensor] | None, Any]:
    """The attention maps (1, heads, L, L) of all layers, and the last states; None without maps of one L."""
    with AttentionRecorder() as recorder:
        states = backbone.blocks(inputs.requires_grad_() if inputs.is_floating_point() else inputs)
    maps = recorder.maps
    length = maps[0].shape[-1] if maps else 0
    if not maps or any(one.shape[-2:] != (length, length) for one in maps):
        return None, states
    return maps, states


def gradient_weighted(recorded: Recorded) -> Array:
    """Relevance by attention times its gradient, through all layers.

    With A (heads, L, L) the attention of a layer and s the score, R ← R + M R, where M is the mean over heads
    of max(0, A · ∂s/∂A), from R = I on. The rows of R - I are averaged over the pooled tokens.
    """
    maps = recorded.maps
    length = maps[0].shape[-1]
    *gradients, of_states = torch.autograd.grad(recorded.score, [*maps, recorded.states], allow_unused=True)
    relevance = torch.eye(length, dtype=torch.float64)
    for attention, gradient in zip(maps, gradients, strict=True):
        if gradient is not None:
            weighted = (attention * gradient).detach()[0].double().clamp(min=0).mean(dim=0)
            relevance = relevance + weighted @ relevance
    return _averaged(relevance - torch.eye(length), of_states)


def rolled_out(recorded: Recorded) -> Array:
    """The rows of `rollout`, averaged over the pooled tokens."""
    (of_states,) = torch.autograd.grad(recorded.score, recorded.states, allow_unused=True)
    return _averaged(rollout(recorded.maps), of_states)


def rollout(maps: Sequence[Tensor]) -> Tensor:
    """(L, L) float64: the product over layers of (Ā + I) / 2, with Ā (L, L) the mean attention of heads."""
    rolled = torch.eye(maps[0].shape[-1], dtype=torch.float64)
    for attention in maps:
        mean = attention.detach()[0].double().mean(dim=0)
        rolled = (mean @ rolled + rolled) / 2
    return rolled


def patches(relevance: Array) -> Array:
    """(side, side): the relevance of the patches, which follow class and register tokens."""
    side = math.isqrt(len(relevance))
    return relevance[-side * side :].reshape(side, side)


def _averaged(rows: Tensor, of_states: Tensor | None) -> Array:
    """The mean (L,) of rows (L, L), weighted with the norms of ∂s/∂x (1, L, D) of the last states x, which
    are zero for tokens that are not pooled."""
    weights = torch.ones(len(rows), dtype=torch.float64)
    if of_states is not None and of_states.shape[:2] == (1, len(rows)) and of_states.any():
        weights = of_states[0].double().norm(dim=1)
    found: Array = (weights @ rows / weights.sum()).numpy()
    return found


def _of_image(case: Case, relevance: Relevance) -> Attribution | None:
    if not differentiable(case):
        return None
    found = relevance_by_attention(case, image_tensor(case.loaded, case.backbone.module()), relevance)
    return None if found is None else Attribution(heatmap=patches(found))


def _of_text(case: Case, relevance: Relevance) -> Attribution | None:
    if case.reader is None or not differentiable(case):
        return None
    tokens, words = case.reader.words(case.loaded)
    found = relevance_by_attention(case, torch.from_numpy(tokens)[None], relevance)
    if found is None:
        return None
    return Attribution(tokens=tuple((word, float(found[places].sum())) for word, places in words))

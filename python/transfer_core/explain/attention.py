"""Gradient-weighted attention of transformers (Chefer et al. 2021, section 3.1)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from transfer_core.explain.case import Attribution, Case
from transfer_core.explain.class_activation import differentiable, image_tensor, score_of
from transfer_core.tasks.criteria import Array


def attended_image(case: Case) -> Attribution | None:
    """Relevance of the patches of an image; None if the backbone has no attention over all patches."""
    if not differentiable(case):
        return None
    relevance = relevance_by_attention(case, image_tensor(case, case.backbone.module()))
    if relevance is None:
        return None
    # Class and register tokens precede the patches.
    side = math.isqrt(len(relevance))
    return Attribution(heatmap=relevance[-side * side :].reshape(side, side))


def attended_text(case: Case) -> Attribution | None:
    """Relevance of the words of a text, each the sum over its tokens; a longer text is cut."""
    if case.reader is None or not differentiable(case):
        return None
    tokens, words = case.reader.words(case.loaded)
    relevance = relevance_by_attention(case, torch.from_numpy(tokens)[None])
    if relevance is None:
        return None
    found = [(word, float(relevance[places].sum())) for word, places in words]
    return Attribution(tokens=tuple(found))


def relevance_by_attention(case: Case, inputs: Tensor) -> Array | None:
    """Relevance (L,) of each token for the score, not negative.

    With A (heads, L, L) the attention of a layer and s the score, R ← R + M R, where M is the mean over heads
    of max(0, A · ∂s/∂A), from R = I on. The rows of R - I are averaged with the norms of ∂s/∂x of the last
    states x as weights, so that only pooled tokens count.
    """
    backbone = case.backbone.module()
    with torch.enable_grad(), _Recorder() as recorder:
        states = backbone.blocks(inputs.requires_grad_() if inputs.is_floating_point() else inputs)
        score = score_of(case, backbone.pool(states))
    maps = recorder.maps
    length = maps[0].shape[-1] if maps else 0
    if not maps or not isinstance(states, Tensor) or any(one.shape[-2:] != (length, length) for one in maps):
        return None
    found = torch.autograd.grad(score, [*maps, states], allow_unused=True)
    *gradients, last = found
    relevance = torch.eye(length, dtype=torch.float64)
    for attention, gradient in zip(maps, gradients, strict=True):
        if gradient is not None:
            weighted = (attention * gradient).detach()[0].double().clamp(min=0).mean(dim=0)
            relevance = relevance + weighted @ relevance
    weights = torch.ones(length, dtype=torch.float64)
    if last is not None and last.ndim == 3 and last.shape[1] == length and last.any():
        weights = last[0].double().norm(dim=1)
    own = relevance - torch.eye(length, dtype=torch.float64)
    result: Array = (weights @ own / weights.sum()).numpy()
    return result


class _Recorder(TorchFunctionMode):
    """Context that computes attention explicitly; `maps` are (1, heads, L, L) for each layer."""

    def __init__(self) -> None:
        super().__init__()
        self.maps: list[Tensor] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is functional.scaled_dot_product_attention:
            return self._attend(*args, **kwargs)
        if func is functional.multi_head_attention_forward:
            query, key, value = args[:3]
            if query is key is value and kwargs.get("attn_mask") is None:
                return self._attend_to_itself(*args), None
        return func(*args, **kwargs)

    def _attend_to_itself(self, x: Tensor, *arguments: Any) -> Tensor:
        """See `torch.nn.functional.multi_head_attention_forward`: (L, 1, E) -> (L, 1, E), without a mask."""
        heads, weight, bias = arguments[3:6]
        length, count, width = x.shape
        parts = functional.linear(x, weight, bias).chunk(3, dim=2)
        query, key, value = (one.reshape(length, count, heads, -1).permute(1, 2, 0, 3) for one in parts)
        mixed = self._attend(query, key, value).permute(2, 0, 1, 3).reshape(length, count, width)
        return functional.linear(mixed, *arguments[10:12])

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """See `torch.nn.functional.scaled_dot_product_attention`, for one input that is not padded."""
        logits = query @ key.transpose(-2, -1) * (scale or 1 / math.sqrt(query.shape[-1]))
        if attn_mask is not None:
            unseen = attn_mask.dtype == torch.bool
            logits = logits.masked_fill(~attn_mask, -math.inf) if unseen else logits + attn_mask
        attention = logits.softmax(dim=-1)
        if not attention.requires_grad:
            attention.requires_grad_()
        self.maps.append(attention)
        return attention @ value

"""Record the attention weights of a network while it runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class AttentionRecorder(TorchFunctionMode):
    """Context that computes attention explicitly; `maps` are (N, heads, L, S) for each call."""

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
        """See `torch.nn.functional.scaled_dot_product_attention`, in eval mode."""
        logits = query @ key.transpose(-2, -1) * (scale or 1 / math.sqrt(query.shape[-1]))
        if is_causal:
            past = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).tril()
            logits = logits.masked_fill(~past, -math.inf)
        if attn_mask is not None:
            unseen = attn_mask.dtype == torch.bool
            logits = logits.masked_fill(~attn_mask, -math.inf) if unseen else logits + attn_mask
        attention = logits.softmax(dim=-1)
        if not attention.requires_grad:
            attention.requires_grad_()
        self.maps.append(attention)
        return attention @ value

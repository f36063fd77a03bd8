"""Random numbers per micro-batch, independent of the thread that computes it and of the order of threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class UseGenerator(TorchFunctionMode):
    """Context manager: dropout, stochastic depth and samples of boxes in this thread draw from `generator`.

    All threads share torch's global generator, so the numbers that each of them draws from it depend on their
    order. Other random operations still use the global generator.
    """

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self._generator = generator

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = dict(kwargs or {})
        if func is Tensor.bernoulli_:
            return func(*args, **{"generator": self._generator, **options})
        if func is torch.randperm:
            return func(*args, **{"generator": self._generator, **options})
        if func is functional.dropout:
            return self._dropout(*args, **options)
        return func(*args, **options)

    def _dropout(self, x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        """Apply dropout (Srivastava et al. 2014); in training, kept values are scaled by 1 / (1 - p)."""
        if not training or p == 0:
            return x
        kept = torch.empty_like(x).bernoulli_(1 - p, generator=self._generator)
        return x * kept / (1 - p)

"""How much a network computes for one input, found out without computing it: on shapes alone."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from transfer_core.backbones.backbone import Backbone

# Numbers that one operation gives for an image: of torchvision's networks at most 20 million.
MOST_AT_ONCE = 2**26
# Numbers that all operations look at: of torchvision's networks at most 1.2 billion.
MOST_IN_ALL = 2**36


class TooMuch(Exception):
    """The network would take too much memory or time."""


def check_work(backbone: Backbone) -> None:
    """Check that one image takes a bounded amount of memory and time.

    Networks with layers that can't run on shapes alone, such as those that Keras computes, are not checked.

    Raises
    ------
    TooMuch
        It does not.
    """
    size = backbone.preprocessing.crop_size
    try:
        network = _without_memory(nn.Sequential(backbone.blocks, backbone.pool))
        with torch.no_grad(), _Counting():
            network(torch.empty(1, 3, size, size, device="meta"))
    except TooMuch:
        raise
    except Exception:  # a layer that can't be copied, or an operation that needs values
        return


def _without_memory(module: nn.Module) -> nn.Module:
    """A copy on the `meta` device; the tensors themselves are not copied."""
    memo: dict[int, Any] = {}
    for tensor in (*module.parameters(), *module.buffers()):
        shape = torch.empty_like(tensor, device="meta")
        memo[id(tensor)] = nn.Parameter(shape, False) if isinstance(tensor, nn.Parameter) else shape
    return copy.deepcopy(module, memo)


class _Counting(TorchFunctionMode):
    """Adds up the numbers that operations within give."""

    def __init__(self) -> None:
        super().__init__()
        self._in_all = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        if isinstance(found, Tensor):
            numbers = found.numel()
            self._in_all += numbers * _looks(func, args, kwargs or {})
            if numbers > MOST_AT_ONCE:
                raise TooMuch(f"a layer gives {numbers:,} numbers, at most {MOST_AT_ONCE:,} are computed")
            if self._in_all > MOST_IN_ALL:
                raise TooMuch(f"its layers look at more than {MOST_IN_ALL:,} numbers")
        return found


def _looks(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    """How many numbers an operation looks at for each that it gives, if that is not in its weights."""
    name = getattr(func, "__name__", "")
    if "pool" in name and "adaptive" not in name:
        kernel = kwargs.get("kernel_size", args[1] if len(args) > 1 else 1)
        return math.prod(kernel) if isinstance(kernel, Sequence) else int(kernel) ** 2
    if name == "scaled_dot_product_attention":
        keys: Tensor = kwargs.get("key", args[1] if len(args) > 1 else None)
        return 1 + int(keys.shape[-2]) // 16  # a product of matrices is fast
    return 1

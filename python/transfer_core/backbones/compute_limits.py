"""Limits on the memory and time of one image, checked on shapes alone, without computing anything."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from transfer_core.backbones.backbone import Backbone

# Numbers in the output of one operation for an image; at most 20 million in torchvision's networks.
MOST_AT_ONCE = 2**26
# Numbers read by all operations for an image; at most 1.2 billion in torchvision's networks.
MOST_IN_ALL = 2**36


class ComputeLimitExceeded(Exception):
    """The network would take too much memory or time."""


def check_compute(backbone: Backbone) -> None:
    """Check that one image takes a bounded amount of memory and time.

    Networks with layers that can't run on shapes alone, such as those run by Keras, are not checked.

    Raises
    ------
    ComputeLimitExceeded
        If the limits are exceeded.
    """
    size = backbone.preprocessing.crop_size
    try:
        network = _without_memory(nn.Sequential(backbone.blocks, backbone.pool))
        with torch.no_grad(), _Counting():
            network(torch.empty(1, 3, size, size, device="meta"))
    except ComputeLimitExceeded:
        raise
    except Exception:  # a layer that can't be copied, or an operation that needs values
        return


def _without_memory(module: nn.Module) -> nn.Module:
    """Copy a module to the `meta` device, without copying its tensors."""
    memo: dict[int, Any] = {}
    for tensor in (*module.parameters(), *module.buffers()):
        shape = torch.empty_like(tensor, device="meta")
        memo[id(tensor)] = nn.Parameter(shape, False) if isinstance(tensor, nn.Parameter) else shape
    return copy.deepcopy(module, memo)


class _Counting(TorchFunctionMode):
    """Context that adds up the sizes of all operations."""

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
            self._in_all += numbers * _reads(func, args, kwargs or {})
            if numbers > MOST_AT_ONCE:
                raise ComputeLimitExceeded(f"a layer outputs {numbers:,} numbers, limit: {MOST_AT_ONCE:,}")
            if self._in_all > MOST_IN_ALL:
                raise ComputeLimitExceeded(f"its layers read more than {MOST_IN_ALL:,} numbers")
        return found


def _reads(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    """Numbers read per number of output, for operations where the weights don't determine it."""
    name = getattr(func, "__name__", "")
    if "pool" in name and "adaptive" not in name:
        kernel = kwargs.get("kernel_size", args[1] if len(args) > 1 else 1)
        return math.prod(kernel) if isinstance(kernel, Sequence) else int(kernel) ** 2
    if name == "scaled_dot_product_attention":
        keys: Tensor = kwargs.get("key", args[1] if len(args) > 1 else None)
        return 1 + int(keys.shape[-2]) // 16  # a product of matrices is fast
    return 1

"""Capability probe for the fused CPU operators of oneDNN.

`torch.compile` emits these private operators. A build of torch or a processor may lack them for a data type
(bfloat16 takes AVX-512 or AVX-NE-CONVERT), and torch reports it only when an operator runs. Each probe runs
the operators once on a small input and compares the result with torch's public operator. Callers must have a
path without them.
"""

from __future__ import annotations

from functools import cache

import torch
from torch.nn import functional


@cache
def has_convolution(dtype: torch.dtype) -> bool:
    """Whether fused convolutions with packed weights run on this CPU in `dtype`."""
    images, weight = _example((2, 4, 6, 6), dtype), _example((4, 4, 3, 3), dtype)
    bias = _example((4,), dtype)
    geometry = ([1, 1], [1, 1], [1, 1], 1)
    try:
        packed = torch.ops.mkldnn._reorder_convolution_weight(weight, *geometry, list(images.shape))
        pointwise = torch.ops.mkldnn._convolution_pointwise
        single = pointwise(images, packed, bias, *geometry, "relu", [], "")
        fused = pointwise.binary(images, images, packed, bias, *geometry, "add", 1.0, "relu", [], "")
    except (AttributeError, NotImplementedError, RuntimeError):
        return False
    expected = functional.conv2d(images.float(), weight.float(), bias.float(), padding=1)
    return _close(single, expected.relu()) and _close(fused, (expected + images.float()).relu())


def _example(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator).to(dtype)


def _close(found: torch.Tensor, expected: torch.Tensor) -> bool:
    """Equal up to one rounding of the result and those of float32 sums."""
    return torch.allclose(found.float(), expected, rtol=torch.finfo(found.dtype).eps, atol=1e-4)

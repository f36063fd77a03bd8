"""The matrix product that fitting a head consists of."""

from __future__ import annotations

import torch
from torch import Tensor

from transfer_core.runtime.onednn import has_linear


def product(left: Tensor, right: Tensor) -> Tensor:
    """`left` (N, R) @ `right` (R, M), transposed in memory or not, without gradients.

    In float32 by oneDNN, with the operator that torch's own compiler emits. `@` is MKL's, which keeps to AVX2
    on other makers' processors than Intel's: where there is AVX-512 it takes twice as long.
    """
    if left.dtype != torch.float32 or not has_linear(torch.float32):
        return left @ right
    found: Tensor = torch.ops.mkldnn._linear_pointwise(left, right.T, None, "none", [], "")
    return found

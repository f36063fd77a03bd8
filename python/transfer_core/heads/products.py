"""Matrix product for the fit of a head."""

from __future__ import annotations

import torch
from torch import Tensor

from transfer_core.runtime.onednn import has_linear


def product(left: Tensor, right: Tensor) -> Tensor:
    """Return `left` (N, R) @ `right` (R, M), in any memory layout, without gradients.

    float32 uses oneDNN, with the operator that torch's compiler emits. `@` uses MKL, which is limited to AVX2
    on processors of other makers than Intel and takes twice as long where there is AVX-512.
    """
    if left.dtype != torch.float32 or not has_linear(torch.float32):
        return left @ right
    found: Tensor = torch.ops.mkldnn._linear_pointwise(left, right.T, None, "none", [], "")
    return found

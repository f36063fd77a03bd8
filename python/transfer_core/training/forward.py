"""Forward pass in mixed precision."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def float32_outputs(module: nn.Module, inputs: Tensor, dtype: torch.dtype) -> Tensor:
    """Return `module(inputs)` as float32, computed in mixed precision with `dtype` unless it is float32."""
    if dtype == torch.float32:
        outputs: Tensor = module(inputs)
    else:
        with torch.autocast(inputs.device.type, dtype):
            outputs = module(inputs)
    return outputs.float()

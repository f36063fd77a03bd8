"""Forward pass in mixed precision."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def float32_outputs(module: nn.Module, inputs: Tensor, dtype: torch.dtype) -> Tensor:
    """Return `module(inputs)` as float32, computed under bfloat16 autocast unless `dtype` is float32."""
    if dtype == torch.float32:
        outputs: Tensor = module(inputs)
    else:
        with torch.autocast(inputs.device.type, torch.bfloat16):
            outputs = module(inputs)
    return outputs.float()

"""Skip marks for tests of operators that some CPUs lack."""

import pytest
import torch

from transfer_core.runtime.onednn import has_convolution

needs_bfloat16_operators = pytest.mark.skipif(
    not has_convolution(torch.bfloat16),
    reason="needs oneDNN's bfloat16 operators (AVX-512 or AVX-NE-CONVERT); the fallback has tests of its own",
)

"""The product of a head's fit against numpy's in double precision."""

import numpy as np
import pytest
import torch

from transfer_core.heads import products
from transfer_core.heads.products import product

SHAPES = [(1, 1, 1), (5, 3, 2), (13, 1280, 70), (64, 33, 130)]


@pytest.mark.parametrize("onednn", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_whatever_the_order_in_memory(shape, dtype, onednn, monkeypatch):
    if not onednn:
        monkeypatch.setattr(products, "has_linear", lambda dtype: False)
    n, inner, m = shape
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(n, inner + 1, generator=generator, dtype=dtype)[:, :-1]
    right = torch.randn(inner, m, generator=generator, dtype=dtype)
    expected = left.double().numpy() @ right.double().numpy()
    sides = [(left, right), (left.contiguous(), right), (left.T.contiguous().T, right.T.contiguous().T)]
    for a, b in sides:
        found = product(a, b)
        assert found.dtype == dtype
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-6 * inner, rtol=1e-5)


def test_a_part_of_the_rows_gives_a_part_of_the_product():
    left, right = torch.randn(40, 96), torch.randn(96, 20)
    torch.testing.assert_close(product(left[10:30], right), product(left, right)[10:30])

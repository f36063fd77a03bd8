"""The axes of a linear fit against NumPy's singular value decomposition."""

import numpy as np
import pytest
import torch

from transfer_core.heads.axes import principal_axes


def centred(n, width, seed=0):
    features = np.random.default_rng(seed).normal(size=(n, width)) * np.linspace(0.1, 3, width)
    return torch.tensor(features - features.mean(axis=0), dtype=torch.float32)


@pytest.mark.parametrize(("n", "width", "rank"), [(40, 6, 6), (6, 40, 5), (7, 7, 6), (2, 3, 1), (9000, 3, 3)])
def test_the_axes_are_those_of_the_svd(n, width, rank):
    features = centred(n, width)
    axes = principal_axes(features)
    _, singular, basis = np.linalg.svd(features.numpy().astype(np.float64), full_matrices=False)
    assert axes.basis.shape == (width, rank)
    np.testing.assert_allclose(axes.variance.numpy(), singular[:rank] ** 2 / n, rtol=1e-5)
    np.testing.assert_allclose(np.abs(basis[:rank] @ axes.basis.numpy()), np.eye(rank), atol=1e-4)


@pytest.mark.parametrize(("n", "width"), [(40, 6), (6, 40)])
def test_the_rows_lie_in_the_axes(n, width):
    features = centred(n, width)
    axes = principal_axes(features)
    features = features.double()
    torch.testing.assert_close(axes.basis.T @ axes.basis, torch.eye(axes.basis.shape[1], dtype=torch.float64))
    torch.testing.assert_close(features @ axes.basis @ axes.basis.T, features, atol=1e-5, rtol=0)
    assert (axes.variance.diff() <= 0).all()


def test_constant_and_repeated_features_need_no_axes():
    features = centred(30, 4)
    features = torch.cat([features, features, torch.zeros(30, 5)], dim=1)
    assert principal_axes(features).basis.shape == (13, 4)


@pytest.mark.parametrize(("n", "width"), [(5, 3), (3, 5)])
def test_features_that_are_all_constant_have_no_axes(n, width):
    assert principal_axes(torch.zeros(n, width)).basis.shape == (width, 0)

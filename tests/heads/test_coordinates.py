"""The coordinates of a linear fit against standardised features."""

import pytest
import torch

from transfer_core.heads.coordinates import coordinates_of
from transfer_core.heads.scaling import standardization


def features_of(n, width):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, width, generator=generator) * torch.logspace(-1, 1, width) + 5


@pytest.mark.parametrize(("n", "width"), [(40, 6), (6, 40), (7, 7), (2, 3)])
def test_a_layer_does_the_same_to_coordinates_and_features(n, width):
    features = features_of(n, width)
    at = coordinates_of(features, standardization(features))
    z = (at.x - at.shift) / at.unit
    assert z.shape == (n, min(n, width))
    weight, bias = torch.randn(3, z.shape[1], generator=torch.Generator().manual_seed(1)), torch.arange(3.0)
    on_features = at.on_features(weight, bias)
    torch.testing.assert_close(
        features @ on_features[0].T + on_features[1], z @ weight.T + bias, atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize(("n", "width"), [(40, 6), (6, 40), (20, 8)])
def test_lengths_and_angles_are_those_of_standardised_features(n, width):
    features = features_of(n, width)
    at = coordinates_of(features, standardization(features))
    z = (at.x - at.shift) / at.unit
    mean, scale = standardization(features)
    standard = (features - mean) / scale
    torch.testing.assert_close(z @ z.T, standard @ standard.T, atol=1e-4, rtol=1e-5)
    if at.basis is not None:
        torch.testing.assert_close(at.basis.T @ at.basis, torch.eye(min(n, width)), atol=1e-5, rtol=0)


def test_features_are_not_copied():
    features = features_of(40, 6)
    assert coordinates_of(features, standardization(features)).x is features


def test_few_rows_get_uncorrelated_coordinates():
    features = features_of(20, 8)
    at = coordinates_of(features, standardization(features))
    gram = at.x.T @ at.x
    assert (gram - gram.diag().diag()).abs().max() < 1e-5 * gram.diag().max()

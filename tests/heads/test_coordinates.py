"""The coordinates of a linear fit against standardised features."""

import numpy as np
import pytest

from transfer_core.heads.coordinates import coordinates_of
from transfer_core.heads.scaling import standardization


def features_of(n, width):
    features = np.random.default_rng(0).normal(size=(n, width)) * np.logspace(-1, 1, width) + 5
    return features.astype(np.float32)


SHAPES = [(40, 6), (6, 40), (7, 7), (2, 3), (20, 8)]


@pytest.mark.parametrize("outputs", [1, 1000])
@pytest.mark.parametrize(("n", "width"), SHAPES)
def test_a_layer_does_the_same_to_coordinates_and_features(n, width, outputs):
    features = features_of(n, width)
    at = coordinates_of(features, standardization(features), outputs)
    z = at.rows(slice(None))
    assert z.shape == (n, min(n, width))
    weight = np.random.default_rng(1).normal(size=(3, z.shape[1])).astype(np.float32)
    bias = np.arange(3, dtype=np.float32)
    expected = z @ weight.T + bias
    for x, moved in ((features, at.on_features(weight, bias)), (at.x, at.on_x(weight, bias))):
        np.testing.assert_allclose(x @ moved[0].T + moved[1], expected, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("outputs", [1, 1000])
@pytest.mark.parametrize(("n", "width"), SHAPES)
def test_the_gradient_is_that_of_the_coordinates(n, width, outputs):
    features = features_of(n, width)
    at = coordinates_of(features, standardization(features), outputs)
    slope = np.random.default_rng(1).normal(size=(3, n)).astype(np.float32)
    found = at.on_z(slope @ at.x, slope.sum(axis=1))
    np.testing.assert_allclose(found, slope @ at.rows(slice(None)), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("outputs", [1, 1000])
@pytest.mark.parametrize(("n", "width"), SHAPES)
def test_lengths_and_angles_are_those_of_standardised_features(n, width, outputs):
    features = features_of(n, width)
    at = coordinates_of(features, standardization(features), outputs)
    z = at.rows(slice(None))
    mean, scale = standardization(features)
    standard = (features - mean) / scale
    np.testing.assert_allclose(z @ z.T, standard @ standard.T, atol=1e-4, rtol=1e-4)
    if at.basis is not None:
        np.testing.assert_allclose(at.basis.T @ at.basis, np.eye(min(n, width)), atol=1e-5)


def test_features_are_not_copied():
    features = features_of(40, 6)
    assert coordinates_of(features, standardization(features)).x is features


@pytest.mark.parametrize(("n", "outputs"), [(20, 1), (40, 1000)])
def test_principal_axes_are_uncorrelated(n, outputs):
    features = features_of(n, 8)
    z = coordinates_of(features, standardization(features), outputs).rows(slice(None))
    gram = z.T @ z
    assert np.abs(gram - np.diag(np.diag(gram))).max() < 1e-5 * np.diag(gram).max()

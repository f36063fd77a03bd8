"""The scalings under which features may be learned."""

import numpy as np

from transfer_core.heads.scaling import scalings, standardization


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_standardization_has_a_floor():
    features = normal(1000, 4)
    features[:, 1] = 7
    features[:, 2] = 0
    features[0, 2] = 1e-6
    mean, scale = standardization(features)
    deviation = features.std(axis=0, dtype=np.float64)
    np.testing.assert_allclose(mean[1], 7)
    np.testing.assert_allclose(scale[0], deviation[0], rtol=1e-6)
    np.testing.assert_allclose(scale[1:3], 0.01 * deviation.mean(), rtol=1e-6)
    assert np.array_equal(standardization(np.ones((3, 2), np.float32))[1], np.full(2, 1e-12, np.float32))


def test_features_have_a_scale_each_or_share_one():
    features = normal(500, 3) * np.array([1, 4, 0], np.float32) + 3
    own, shared = scalings(features)
    z = (features - own.mean) / own.scale
    np.testing.assert_allclose(np.square(z).mean(axis=0), [1, 1, 0], rtol=1e-5)
    z = (features - shared.mean) / shared.scale
    np.testing.assert_allclose(np.square(z).mean(), 1, rtol=1e-5)
    np.testing.assert_allclose(z.std(axis=0) * shared.scale, features.std(axis=0), rtol=1e-4)
    assert len(set(shared.scale.tolist())) == 1


def test_counts_share_a_scale():
    counts = np.zeros((100, 50), np.float32)
    counts[np.arange(100), np.arange(100) % 50] = 1
    counts[:3, 0] = 5
    (shared,) = scalings(counts)
    assert len(set(shared.scale.tolist())) == 1
    np.testing.assert_allclose(np.square((counts - shared.mean) / shared.scale).mean(), 1, rtol=1e-5)

"""The scalings under which features may be learned."""

import torch

from transfer_core.heads.scaling import scalings, standardization


def test_standardization_has_a_floor():
    features = torch.randn(1000, 4, generator=torch.Generator().manual_seed(0))
    features[:, 1] = 7
    features[:, 2] = 0
    features[0, 2] = 1e-6
    mean, scale = standardization(features)
    torch.testing.assert_close(mean[1], torch.tensor(7.0))
    torch.testing.assert_close(scale[0], features[:, 0].std(unbiased=False))
    torch.testing.assert_close(scale[1:3], (0.01 * features.std(dim=0, unbiased=False).mean()).expand(2))
    assert torch.equal(standardization(torch.ones(3, 2))[1], torch.full((2,), 1e-12))


def test_features_have_a_scale_each_or_share_one():
    features = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 4, 0]) + 3
    own, shared = scalings(features)
    z = (features - own.mean) / own.scale
    torch.testing.assert_close(z.square().mean(dim=0), torch.tensor([1.0, 1, 0]))
    z = (features - shared.mean) / shared.scale
    torch.testing.assert_close(z.square().mean(), torch.tensor(1.0))
    deviation = features.std(dim=0, unbiased=False)
    torch.testing.assert_close(z.std(dim=0, unbiased=False) * shared.scale, deviation)
    assert len(set(shared.scale.tolist())) == 1


def test_counts_share_a_scale():
    counts = torch.zeros(100, 50)
    counts[torch.arange(100), torch.arange(100) % 50] = 1
    counts[:3, 0] = 5
    (shared,) = scalings(counts)
    assert len(set(shared.scale.tolist())) == 1
    torch.testing.assert_close(((counts - shared.mean) / shared.scale).square().mean(), torch.tensor(1.0))

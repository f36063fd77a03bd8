"""The layers of a head, and the standardisation that goes into them."""

import pytest
import torch
from torch import nn

from transfer_core.heads.modules import build_head, first_dense, fold_standardization, last_dense
from transfer_core.heads.scaling import standardization
from transfer_core.recipe.schema import LinearHead, MlpHead


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def shapes(head):
    return [
        (layer.in_features, layer.out_features)
        if isinstance(layer, nn.Linear)
        else layer.p
        if isinstance(layer, nn.Dropout)
        else type(layer)
        for layer in head
    ]


def test_layers():
    assert shapes(build_head(LinearHead(), 5, 3, generator())) == [(5, 3)]
    assert shapes(build_head(LinearHead(0.2), 5, 3, generator())) == [0.2, (5, 3)]
    assert shapes(build_head(MlpHead((8, 4), 0.0), 5, 3, generator())) == [
        (5, 8),
        nn.ReLU,
        (8, 4),
        nn.ReLU,
        (4, 3),
    ]
    assert shapes(build_head(MlpHead((8,), 0.1), 5, 3, generator())) == [0.1, (5, 8), nn.ReLU, 0.1, (8, 3)]


def test_without_a_generator_a_head_takes_no_memory():
    head = build_head(MlpHead((10**6, 10**6), 0.1), 10**6, 3, None)
    assert {tensor.device.type for tensor in head.state_dict().values()} == {"meta"}
    made = build_head(MlpHead((8,), 0.1), 5, 3, generator())
    again = build_head(MlpHead((8,), 0.1), 5, 3, None)
    again.load_state_dict(made.state_dict(), assign=True)
    assert torch.equal(again.eval()(torch.ones(2, 5)), made.eval()(torch.ones(2, 5)))


def test_dense_layers_at_both_ends():
    head = build_head(MlpHead((8, 4), 0.1), 5, 3, generator())
    assert (first_dense(head).in_features, last_dense(head).out_features) == (5, 3)


def test_hidden_weights_are_he_uniform_and_come_from_the_generator_alone_and_the_last_are_zeros():
    state = torch.get_rng_state()
    heads = [build_head(MlpHead((50,), 0.0), 600, 3, generator(seed)) for seed in (0, 0, 1)]
    assert torch.equal(state, torch.get_rng_state())
    weight = heads[0][0].weight.detach()
    assert torch.equal(weight, heads[1][0].weight)
    assert not torch.equal(weight, heads[2][0].weight)
    assert float(weight.var()) == pytest.approx(2 / 600, rel=0.05)
    assert float(weight.abs().max()) == pytest.approx((6 / 600) ** 0.5, rel=0.01)
    assert not heads[0][0].bias.any()
    assert not last_dense(heads[0]).weight.any()
    assert not build_head(LinearHead(), 600, 50, generator())[0].weight.any()


@pytest.mark.parametrize("spec", [LinearHead(), MlpHead((8,), 0.3)])
def test_folding_changes_no_output(spec):
    head = build_head(spec, 6, 3, generator()).eval()
    features = torch.randn(40, 6, generator=generator(1)) * torch.logspace(-3, 3, 6) + torch.logspace(
        3, -3, 6
    )
    mean, scale = standardization(features)
    with torch.no_grad():
        expected = head((features - mean) / scale)
        fold_standardization(head, mean, scale)
        torch.testing.assert_close(head.double()(features.double()).float(), expected, rtol=1e-4, atol=1e-3)

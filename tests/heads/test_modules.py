"""Dense layers as torch modules and as heads, and the standardisation that goes into them."""

import numpy as np
import pytest
import torch
from torch import nn

from transfer_core.heads.modules import build_module, head_of, module_of
from transfer_core.heads.restored import restored
from transfer_core.heads.scaling import standardization
from transfer_core.recipe.heads import LinearHead, MlpHead


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
    assert shapes(build_module(LinearHead(), 5, 3, generator())) == [(5, 3)]
    assert shapes(build_module(LinearHead(0.2), 5, 3, generator())) == [0.2, (5, 3)]
    assert shapes(build_module(MlpHead((8, 4), 0.0), 5, 3, generator())) == [
        (5, 8),
        nn.ReLU,
        (8, 4),
        nn.ReLU,
        (4, 3),
    ]
    assert shapes(build_module(MlpHead((8,), 0.1), 5, 3, generator())) == [0.1, (5, 8), nn.ReLU, 0.1, (8, 3)]


def test_hidden_weights_are_he_uniform_and_come_from_the_generator_alone_and_the_last_are_zeros():
    state = torch.get_rng_state()
    heads = [build_module(MlpHead((50,), 0.0), 600, 3, generator(seed)) for seed in (0, 0, 1)]
    assert torch.equal(state, torch.get_rng_state())
    weight = heads[0][0].weight.detach()
    assert torch.equal(weight, heads[1][0].weight)
    assert not torch.equal(weight, heads[2][0].weight)
    assert float(weight.var()) == pytest.approx(2 / 600, rel=0.05)
    assert float(weight.abs().max()) == pytest.approx((6 / 600) ** 0.5, rel=0.01)
    assert not heads[0][0].bias.any()
    assert not heads[0][-1].weight.any()
    assert not build_module(LinearHead(), 600, 50, generator())[0].weight.any()


SPECS = [LinearHead(), LinearHead(0.3), MlpHead((8,), 0.3), MlpHead((8, 4), 0.0)]


def untrained(spec):
    module = build_module(spec, 6, 3, generator()).eval().requires_grad_(False)
    module[-1].weight.copy_(torch.randn(module[-1].weight.shape, generator=generator(2)))
    return module


def drawn_features():
    features = torch.randn(40, 6, generator=generator(1)) * torch.logspace(-3, 3, 6)
    return (features + torch.logspace(3, -3, 6)).numpy()


@pytest.mark.parametrize("spec", SPECS)
def test_a_head_computes_what_its_module_computes(spec):
    module = untrained(spec)
    head = head_of(module)
    features = drawn_features()
    np.testing.assert_allclose(head(features), module(torch.from_numpy(features)), rtol=1e-4, atol=1e-3)
    again = restored(spec, head.state_dict(), 6, 3)
    assert np.array_equal(again(features), head(features))
    copy = module_of(head, spec)
    for name, tensor in module.state_dict().items():
        assert torch.equal(copy.state_dict()[name], tensor)
    assert [type(layer) for layer in copy] == [type(layer) for layer in module]


def damaged(tensors, name, array):
    return {**tensors, name: array} if array is not None else {k: v for k, v in tensors.items() if k != name}


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("0.weight", np.zeros((8, 7), np.float32)),
        ("0.weight", np.zeros((8, 6), np.float64)),
        ("0.weight", np.zeros(8, np.float32)),
        ("0.weight", np.full((8, 6), 1e31, np.float32)),
        ("0.bias", np.zeros(7, np.float32)),
        ("2.weight", np.zeros((4, 8), np.float32)),
        ("2.bias", None),
        ("4.bias", np.zeros(3, np.float32)),
    ],
)
def test_a_head_of_a_file_must_fit(name, array):
    tensors = head_of(untrained(MlpHead((8,), 0.0))).state_dict()
    with pytest.raises(ValueError, match="its head"):
        restored(MlpHead((8,), 0.0), damaged(tensors, name, array), 6, 3)


@pytest.mark.parametrize("spec", SPECS)
def test_folding_changes_no_output(spec):
    head, features = head_of(untrained(spec)), drawn_features()
    mean, scale = standardization(features)
    expected = head((features - mean) / scale)
    folded = head.after_standardization(mean, scale)
    np.testing.assert_allclose(folded(features.astype(np.float64)), expected, rtol=1e-3, atol=1e-3)

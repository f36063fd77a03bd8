"""The loss, its gradient and the diagonal of its Hessian against automatic differentiation."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.nn.functional import cross_entropy, mse_loss

from criteria import Rows
from transfer_core.heads import linear_problem
from transfer_core.heads.coordinates import coordinates_of
from transfer_core.heads.linear_problem import linear_problems
from transfer_core.heads.scaling import standardization

KINDS = ["classes", "values", "labels", "weighted labels"]


def drawn(kind):
    generator = np.random.default_rng(0)
    features = generator.normal(size=(30, 4)) + 3
    values = generator.normal(size=(30, 3))
    targets = {"classes": np.arange(30) % 3, "values": values}.get(kind, values > 0.3)
    weights = generator.random((2, 30)) + 0.1
    of_labels = generator.random((30, 3)) + 0.5
    own = of_labels if kind == "weighted labels" else weights[0]
    rows = Rows(features, targets, own, np.arange(30))
    problems = linear_problems(
        rows, coordinates_of(features, standardization(features)), weights, 3, lambda: None
    )
    return problems, generator.normal(size=(2, 3, 5))


def losses(problems, coefficients):
    """(B,), row by row, of tensors."""
    z, targets = torch.from_numpy(problems.at.rows(slice(None))), torch.from_numpy(problems.targets)
    found = []
    for layer, share in zip(coefficients, torch.from_numpy(problems.share), strict=True):
        output = z @ layer[:, :-1].T + layer[:, -1]
        if targets.dtype == torch.bool:
            given = problems.label_weights
            weights = None if given is None else torch.from_numpy(given)
            each = bce(output, targets.double(), weights, reduction="none").sum(dim=1)
        elif targets.is_floating_point():
            each = 0.5 * mse_loss(output, targets, reduction="none").sum(dim=1)
        else:
            each = cross_entropy(output, targets, reduction="none")
        found.append((each * share).sum())
    return torch.stack(found)


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_and_its_slope(kind):
    problems, at = drawn(kind)
    point = torch.from_numpy(at).requires_grad_(True)
    expected = losses(problems, point)
    (slope,) = torch.autograd.grad(expected.sum(), point)
    loss, gradient = problems.loss(at)
    np.testing.assert_allclose(loss, expected.detach())
    np.testing.assert_allclose(gradient, slope, atol=1e-12)


@pytest.mark.parametrize("strength", [1.0, 1e-3])
@pytest.mark.parametrize("kind", KINDS)
def test_whitened_variables_have_second_derivatives_of_one(kind, strength, monkeypatch):
    problems, at = drawn(kind)

    def mean_loss(layer):
        share = problems.share.mean(axis=0, keepdims=True)
        penalty = 0.5 * strength * layer[..., :-1].square().sum()
        return losses(replace(problems, share=share), layer).sum() + penalty

    hessian = torch.autograd.functional.hessian(mean_loss, torch.from_numpy(at[:1])).view(15, 15)
    diagonal = hessian.diagonal().view(3, 5).mean(dim=0)
    for chunk_bytes in (linear_problem.CHUNK_BYTES, 7 * 8 * 4):
        monkeypatch.setattr(linear_problem, "CHUNK_BYTES", chunk_bytes)
        np.testing.assert_allclose(problems._whitening(strength, at[0]), diagonal.rsqrt(), rtol=1e-9)


def test_label_weights_count_one_on_average():
    problems, _ = drawn("weighted labels")
    assert float(problems.label_weights.mean()) == pytest.approx(1)
    assert drawn("labels")[0].label_weights is None

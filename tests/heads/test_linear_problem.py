"""The loss, its gradient and the diagonal of its Hessian against automatic differentiation."""

from dataclasses import replace

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
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(30, 4, generator=generator, dtype=torch.float64) + 3
    values = torch.randn(30, 3, generator=generator)
    targets = {"classes": torch.arange(30) % 3, "values": values}.get(kind, values > 0.3)
    weights = torch.rand(2, 30, generator=generator) + 0.1
    of_labels = torch.rand(30, 3, generator=generator) + 0.5
    own = of_labels if kind == "weighted labels" else weights[0]
    rows = Rows(features, targets, own, torch.arange(30))
    problems = linear_problems(
        rows, coordinates_of(features, standardization(features)), weights, 3, lambda: None
    )
    return problems, torch.randn(2, 3, 5, generator=generator, dtype=torch.float64)


def losses(problems, coefficients):
    """(B,), row by row."""
    z = (problems.at.x - problems.at.shift) / problems.at.unit
    found = []
    for layer, share in zip(coefficients, problems.share, strict=True):
        output = z @ layer[:, :-1].T + layer[:, -1]
        if problems.targets.dtype == torch.bool:
            weights = problems.label_weights
            each = bce(output, problems.targets.double(), weights, reduction="none").sum(dim=1)
        elif problems.targets.is_floating_point():
            each = 0.5 * mse_loss(output, problems.targets.double(), reduction="none").sum(dim=1)
        else:
            each = cross_entropy(output, problems.targets, reduction="none")
        found.append((each * share).sum())
    return torch.stack(found)


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_and_its_slope(kind):
    problems, at = drawn(kind)
    at.requires_grad_(True)
    expected = losses(problems, at)
    (slope,) = torch.autograd.grad(expected.sum(), at)
    loss, gradient = problems.loss(at.detach())
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(gradient, slope)


@pytest.mark.parametrize("strength", [1.0, 1e-3])
@pytest.mark.parametrize("kind", KINDS)
def test_whitened_variables_have_second_derivatives_of_one(kind, strength, monkeypatch):
    problems, at = drawn(kind)

    def mean_loss(layer):
        share = problems.share.mean(dim=0, keepdim=True)
        penalty = 0.5 * strength * layer[..., :-1].square().sum()
        return losses(replace(problems, share=share), layer).sum() + penalty

    hessian = torch.autograd.functional.hessian(mean_loss, at[:1]).view(15, 15)
    diagonal = hessian.diagonal().view(3, 5).mean(dim=0)
    for chunk_bytes in (linear_problem.CHUNK_BYTES, 7 * 8 * 4):
        monkeypatch.setattr(linear_problem, "CHUNK_BYTES", chunk_bytes)
        torch.testing.assert_close(problems._whitening(strength, at[0]), diagonal.rsqrt())


def test_label_weights_count_one_on_average():
    problems, _ = drawn("weighted labels")
    assert float(problems.label_weights.mean()) == pytest.approx(1)
    assert drawn("labels")[0].label_weights is None

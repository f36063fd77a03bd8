"""The loss, its gradient and its curvature against automatic differentiation."""

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


@pytest.mark.parametrize("kind", KINDS)
def test_the_curvature_is_the_mean_of_the_outputs_own_second_derivatives(kind, monkeypatch):
    problems, at = drawn(kind)

    def mean_loss(layer):
        share = problems.share.mean(dim=0, keepdim=True)
        return losses(replace(problems, share=share), layer)

    hessian = torch.autograd.functional.hessian(mean_loss, at[:1]).view(3, 5, 3, 5)
    expected = torch.stack([hessian[k, :, k] for k in range(3)]).mean(dim=0)
    curvature = problems.curvature(at[0], None)
    torch.testing.assert_close(curvature.gram, expected[:-1, :-1])
    assert curvature.mean == pytest.approx(float(expected[-1, -1]))
    monkeypatch.setattr(linear_problem, "CHUNK_BYTES", 7 * 8 * 4)
    torch.testing.assert_close(problems.curvature(at[0], None).gram, expected[:-1, :-1])


def test_label_weights_count_one_on_average():
    problems, _ = drawn("weighted labels")
    assert float(problems.label_weights.mean()) == pytest.approx(1)
    assert drawn("labels")[0].label_weights is None


def test_a_known_curvature_is_scaled_until_it_is_four_times_too_strong():
    problems, at = drawn("classes")
    known = problems.curvature(problems.zeros()[0], None)
    little, much = (problems.curvature(factor * at[0], known) for factor in (0.1, 30))
    torch.testing.assert_close(little.gram, known.gram * (little.mean / known.mean))
    assert much.mean < known.mean / 4
    torch.testing.assert_close(much.gram, problems.curvature(30 * at[0], None).gram)


def test_a_part_of_many_rows_shows_the_curvature(monkeypatch):
    problems, at = drawn("classes")
    monkeypatch.setattr(linear_problem, "ROWS_FOR_CURVATURE", 4)
    part = problems.curvature(at[0], None)
    rows = torch.arange(0, 30, 2)
    share = problems.share[:, rows]
    fewer = linear_problems(
        Rows(problems.at.x[rows], problems.targets[rows], share[0], rows), problems.at, share, 3, lambda: None
    )
    assert part.mean == pytest.approx(problems.curvature(at[0], None).mean)
    assert len(fewer.targets) == 15
    assert part.gram.isfinite().all()


@pytest.mark.parametrize("strength", [1.0, 1e-3])
def test_whitened_variables_bend_by_one(strength):
    problems, at = drawn("values")
    curvature = problems.curvature(at[0], None)
    white = curvature.whitening(strength)
    torch.testing.assert_close(white.coefficients(white.variables(at)), at)

    def penalised(flat):
        layer = white.coefficients(flat.view(1, 3, 5))
        share = problems.share.mean(dim=0, keepdim=True)
        return (
            losses(replace(problems, share=share), layer).sum()
            + 0.5 * strength * layer[..., :-1].square().sum()
        )

    start = white.variables(at[:1]).flatten()
    hessian = torch.autograd.functional.hessian(penalised, start).view(3, 5, 3, 5)
    for k in range(3):
        torch.testing.assert_close(
            hessian[k, :4, k, :4], torch.eye(4, dtype=torch.float64), atol=1e-3, rtol=0
        )
    gradient = torch.autograd.functional.jacobian(penalised, start).view(1, 3, 5)
    loss, by_hand = problems.loss(at)
    assert white.slopes(by_hand).shape == at.shape
    assert gradient.isfinite().all()
    assert loss.dtype == torch.float64

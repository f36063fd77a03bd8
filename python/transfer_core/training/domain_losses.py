"""Losses between the features or outputs of two domains, on tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# Kernel bandwidths relative to the mean squared distance: Long et al. 2015 take powers of two around it.
_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
_TINY = 1e-12


def mmd_squared(source: Tensor, target: Tensor) -> Tensor:
    """Unbiased estimate of the squared maximum mean discrepancy; the kernel is the mean of five RBF kernels.

    Parameters
    ----------
    source, target
        (N, D) and (M, D), at least two rows each. Bandwidths are multiples of the mean squared distance
        between different rows of both, which is held constant.

    References
    ----------
    Long, Cao, Wang and Jordan, Learning Transferable Features with Deep Adaptation Networks, ICML 2015,
    section 3.1; Gretton et al., A Kernel Two-Sample Test, JMLR 13 (2012), equation 3.
    """
    rows = torch.cat([source, target])
    norms = rows.square().sum(dim=1)
    distances = (norms[:, None] + norms - 2 * rows @ rows.T).clamp(min=0)
    apart = 1 - torch.eye(len(rows), device=rows.device)
    mean = (distances.detach() * apart).sum() / apart.sum()
    scaled = -distances / mean.clamp(min=_TINY)
    kernel = sum((torch.exp(factor * scaled) for factor in _FACTORS), torch.zeros_like(scaled))
    kernel = kernel / len(_FACTORS) * apart
    n, m = len(source), len(target)
    return (
        kernel[:n, :n].sum() / (n * (n - 1))
        + kernel[n:, n:].sum() / (m * (m - 1))
        - 2 * kernel[:n, n:].mean()
    )


def coral_loss(source: Tensor, target: Tensor) -> Tensor:
    """Squared Frobenius distance of the covariances (D, D) of (N, D) and (M, D), divided by 4 D².

    References
    ----------
    Sun and Saenko, Deep CORAL, ECCV 2016 workshops, equation 1.
    """
    difference = _covariance(source) - _covariance(target)
    return difference.square().sum() / (4 * source.shape[1] ** 2)


def _covariance(rows: Tensor) -> Tensor:
    centred = rows - rows.mean(dim=0)
    return centred.T @ centred / (len(rows) - 1)


def class_confusion(outputs: Tensor, temperature: float = 2.5) -> Tensor:
    """Confusion of classes in target outputs (M, K): the mean share of class correlations off the diagonal.

    Rows are weighted by their certainty, without a gradient through the weights.

    References
    ----------
    Jin, Wang, Long and Wang, Minimum Class Confusion for Versatile Domain Adaptation, ECCV 2020, equations 2
    to 6.
    """
    predicted = torch.softmax(outputs / temperature, dim=1)
    entropy = -(predicted * torch.log(predicted.clamp(min=_TINY))).sum(dim=1).detach()
    certainty = 1 + torch.exp(-entropy)
    weighted = predicted * (certainty * len(outputs) / certainty.sum())[:, None]
    together = weighted.T @ predicted
    together = together / together.sum(dim=1, keepdim=True)
    return (together.sum() - together.trace()) / outputs.shape[1]


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, rows: Tensor, factor: float) -> Tensor:
        context.factor = factor
        return rows.view_as(rows)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -context.factor * gradient, None


def reversed_gradient(rows: Tensor, factor: float) -> Tensor:
    """Return `rows`, whose gradient is multiplied by -`factor`.

    References
    ----------
    Ganin et al., Domain-Adversarial Training of Neural Networks, JMLR 17 (2016), equations 14 and 15.
    """
    reversed_rows: Tensor = _Reversal.apply(rows, factor)  # type: ignore[no-untyped-call]
    return reversed_rows

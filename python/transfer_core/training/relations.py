"""Losses that relate the embeddings of a student to those of its teacher, whatever their widths.

Embeddings of the student s (N, D) and of the teacher t (N, E) are of the same N inputs.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize, smooth_l1_loss


def relational(student: Tensor, teacher: Tensor, angle: float = 2.0) -> Tensor:
    """Relational knowledge distillation: Huber loss of distances, and `angle` times that of angles.

    Distances between pairs are divided by their mean over the pairs that differ; an angle is the cosine at
    j of the triangle i, j, k. Both don't change if all embeddings are scaled, moved or rotated.

    Parameters
    ----------
    student, teacher
        (N, D) and (N, E), N ≥ 2.
    angle
        Weight of the angles; the distances have the weight 1.

    References
    ----------
    Park et al., Relational Knowledge Distillation (2019), equations 4 to 8; weights of section 4.1.
    """
    by_distance = smooth_l1_loss(_distances(student), _distances(teacher))
    return by_distance + angle * smooth_l1_loss(_angles(student), _angles(teacher))


def similarity(student: Tensor, teacher: Tensor) -> Tensor:
    """|G_t - G_s|² / N², where the rows of G = Q Qᵀ have length 1 (N, N).

    References
    ----------
    Tung and Mori, Similarity-Preserving Knowledge Distillation (2019), equations 2 to 4.
    """
    first, second = (normalize(rows @ rows.T, dim=1) for rows in (student, teacher))
    return (first - second).square().mean()


def contrastive(student: Tensor, teacher: Tensor, temperature: float = 0.1) -> Tensor:
    """InfoNCE: each student embedding (N, E) finds its teacher's among those of all inputs (N, E).

    Both are scaled to length 1; with cosines C, the mean of -log softmax(C / temperature)ᵢᵢ. It bounds the
    mutual information of both from below.

    References
    ----------
    Tian, Krishnan and Isola, Contrastive Representation Distillation (2020), with the softmax over all
    negatives of van den Oord et al. (2018) in place of their binary estimate.
    """
    cosines = normalize(student, dim=1) @ normalize(teacher, dim=1).T
    return cross_entropy(cosines / temperature, torch.arange(len(student), device=student.device))


def _distances(rows: Tensor) -> Tensor:
    """Distances of pairs (N, N), 1 in the mean over pairs that differ."""
    squares = rows.square().sum(dim=1)
    squared = (squares[:, None] + squares[None] - 2 * rows @ rows.T).clamp(min=0)
    differ = (squared > 1e-12 * squares.mean().detach()).to(rows.dtype)
    # The square root has no slope at 0.
    distances = (squared + (1 - differ)).sqrt() * differ
    return distances / (distances.sum() / differ.sum().clamp(min=1)).clamp(min=1e-12)


def _angles(rows: Tensor) -> Tensor:
    """Cosines (N, N, N): of row i and k, seen from j, at [j, i, k]."""
    edges = normalize(rows[None] - rows[:, None], dim=2)
    return edges @ edges.transpose(1, 2)

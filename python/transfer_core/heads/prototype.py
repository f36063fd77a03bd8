"""Prototype head: the nearest class mean (Snell, Swersky & Zemel 2017, section 2.3)."""

from __future__ import annotations

import numpy as np

from transfer_core.heads.classic_problems import Check
from transfer_core.heads.dense import DenseHead, named
from transfer_core.heads.head import Head
from transfer_core.heads.rows import Rows
from transfer_core.recipe.heads import PrototypeHead
from transfer_core.tasks.criteria import Array

# Logits at the mean distance between prototypes: the log loss of one example per class is near its lowest.
SHARPNESS = 4.0


def prototype(spec: PrototypeHead, rows: Rows, outputs: int, seed: int, check: Check) -> Head:
    """Fit logits -s |x - c|² for the mean c of each class, as a dense layer.

    |x|² is the same for all classes and is left out: the logits are s (2 c · x - |c|²). s is 4 over the mean
    squared distance between two prototypes.
    """
    centers = class_means(rows.features, rows, outputs)
    lengths = np.square(centers).sum(axis=1)
    distances = lengths[:, None] - 2 * centers @ centers.T + lengths
    scale = SHARPNESS / max(mean_of_pairs(distances), 1e-12)
    weight, bias = 2 * scale * centers, -scale * lengths
    return DenseHead(named(0, weight.astype(np.float32), bias.astype(np.float32)))


def class_means(features: Array, rows: Rows, outputs: int) -> Array:
    """Weighted means (K, D) float64 of `features` (N, D) by class; zeros for a class without examples."""
    members = np.zeros((outputs, len(rows)))
    members[rows.targets, np.arange(len(rows))] = rows.weights
    totals = members.sum(axis=1, keepdims=True)
    means: Array = members @ features / np.where(totals > 0, totals, 1)
    return means


def mean_of_pairs(distances: Array) -> float:
    """Mean of a matrix (K, K) without its diagonal."""
    classes = len(distances)
    return float((distances.sum() - np.trace(distances)) / max(1, classes * (classes - 1)))

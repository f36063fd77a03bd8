"""Rows of features that look like a network's: ten clusters that overlap."""

import numpy as np

WIDTH, CLASSES, UNSEEN = 1280, 10, 10_000


def clusters(rows, seed=0):
    """float32 (rows, 1280) and int64 (rows,), and `UNSEEN` more of both."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(0, 0.06, (CLASSES, WIDTH)).astype(np.float32)
    targets = generator.integers(0, CLASSES, rows + UNSEEN)
    features = generator.standard_normal((rows + UNSEEN, WIDTH), np.float32)
    features += centres[targets]
    np.maximum(features, 0, out=features)
    return features[:rows], targets[:rows], features[rows:], targets[rows:]

"""The default head on many classes with 20 examples each: time, and log loss over that of all strengths.

python -m benchmarks.many_classes [CLASSES ...]

Features can't be handed to the public API, which has images; this calls the room `transfer_core.heads`.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from transfer_core.heads import Rows, cross_validated, rows_of
from transfer_core.heads.cross_validated import LinearFit, fit_linear
from transfer_core.runtime.progress import Progress
from transfer_core.tasks.criteria import CrossEntropy

WIDTH, EACH, UNSEEN = 1280, 20, 5

# Up to so many classes, the full search is run beside.
MOST_IN_FULL = 250


def clusters(classes: int, seed: int = 0) -> tuple[Rows, Rows]:
    """Overlapping clusters whose noise has a decaying spectrum, as embeddings have: rows to fit, and more."""
    generator = np.random.default_rng(seed)
    spectrum = np.logspace(0, -1.5, WIDTH, dtype=np.float32)
    turn = np.linalg.qr(generator.standard_normal((WIDTH, WIDTH), np.float32))[0]
    targets = np.arange(classes).repeat(EACH + UNSEEN)
    noise = generator.standard_normal((len(targets), WIDTH), np.float32) * spectrum @ turn
    centres = 0.12 * generator.standard_normal((classes, WIDTH), np.float32)
    features = np.maximum(centres[targets] + noise + 0.3, 0)
    is_unseen = np.arange(len(targets)) % (EACH + UNSEEN) >= EACH
    parts = (np.flatnonzero(~is_unseen), np.flatnonzero(is_unseen))
    weights = np.ones(len(targets), np.float32)
    fitted, unseen = (rows_of(features[part], targets[part], weights[part], CrossEntropy()) for part in parts)
    return fitted, unseen


def log_loss(fit: LinearFit, rows: Rows) -> float:
    """Mean over rows."""
    outputs = rows.features @ fit.weight.T + fit.bias
    return float(CrossEntropy().losses(outputs, rows.targets, rows.weights).mean())


def main(classes: list[int]) -> None:
    """Print a row per number of classes."""
    print("classes    CPU s   wall s   log loss   CPU s of all strengths   log loss / theirs")
    for count in classes:
        fitted, unseen = clusters(count)
        cpu, wall, many = time.process_time(), time.monotonic(), cross_validated.MANY
        loss = log_loss(fit_linear(fitted, count, 5, 0, Progress()), unseen)
        cpu, wall = time.process_time() - cpu, time.monotonic() - wall
        line = f"{count:7d} {cpu:8.1f} {wall:8.1f} {loss:10.3f}"
        if count <= MOST_IN_FULL:
            cross_validated.MANY = count + 1
            full = time.process_time()
            all_strengths = log_loss(fit_linear(fitted, count, 5, 0, Progress()), unseen)
            line += f" {time.process_time() - full:24.1f} {loss / all_strengths:19.3f}"
            cross_validated.MANY = many
        print(line, flush=True)


if __name__ == "__main__":
    main([int(count) for count in sys.argv[1:]] or [128, 250, 500, 1000])

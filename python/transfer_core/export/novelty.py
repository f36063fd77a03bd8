"""A novelty detector as operators: from embeddings (N, D) float32 to `novelty` and `unknown` (N,)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from transfer_core.export.operators import Value
from transfer_core.heads.novelty import UNKNOWN, Novelty, transformed


def add_novelty(embeddings: Value, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Declare the outputs `novelty` and `unknown`; see `heads.novelty`.

    Parameters
    ----------
    embeddings
        (N, D) float32.
    arrays
        Of the detector, by name: `0.examples` …; none if the model has no detector.
    """
    if not arrays:
        return
    examples = transformed(arrays["0.examples"], bool(arrays["0.roots"]))
    at, share = Novelty(arrays["0.examples"], arrays["0.distances"], arrays["0.roots"]).knots
    beyond = 1.0 / (len(arrays["0.distances"]) + 1)
    lengths: Any = np.square(examples).sum(axis=1)
    rows = embeddings
    if arrays["0.roots"]:
        rows = rows.apply("Sign") * rows.apply("Abs").apply("Sqrt")
        rows = rows / (rows * rows).sum(1, keepdims=True).apply("Sqrt").apply("Max", 1e-12)
        squares = rows @ (-2 * examples.T) + np.ones_like(lengths) + 1.0
    else:
        squares = rows @ (-2 * examples.T) + lengths + (rows * rows).sum(1, keepdims=True)
    nearest = squares.apply("ReduceMin", axes=[1], keepdims=1).apply("Max", 0.0).apply("Sqrt")
    nearest = nearest.cast(np.float64)
    steps = (nearest - at[None, :-1]) / np.diff(at)[None]
    within = steps.apply("Max", 0.0).apply("Min", 1.0) @ np.diff(share)[:, None]
    rest = nearest.apply("Max", at[-1]).apply("Reciprocal") * -at[-1] + 1.0
    novelty = (within + rest * beyond).sum(1)
    graph = embeddings.graph
    graph.output("novelty", novelty, ["N"])
    graph.output("unknown", novelty.apply("Less", UNKNOWN, dtype=bool).apply("Not"), ["N"])

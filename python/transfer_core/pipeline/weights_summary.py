"""Weights of source examples as the model file keeps them."""

from __future__ import annotations

from typing import Any

import numpy as np

from transfer_core.kinds.example_weights import effective_sample_size
from transfer_core.model_file.header import MOST_WEIGHTS, InstanceWeight, InstanceWeights
from transfer_core.pipeline.artifacts import Frozen

_LONGEST = 200


def weights_summary(frozen: Frozen) -> InstanceWeights | None:
    """Summarize the weights of the source examples; None without `weigh`."""
    weigh = frozen.plan.recipe.weigh
    if weigh is None or frozen.importance is None:
        return None
    rows = frozen.splits.train.joined(frozen.splits.valid)
    weights = frozen.importance[rows.from_source].astype(np.float64)
    inputs = [rows.inputs[row] for row in np.flatnonzero(rows.from_source)]
    is_image = frozen.backbone.facts.modality == "image"

    def listed(order: Any) -> tuple[InstanceWeight, ...]:
        return tuple(
            InstanceWeight(str(inputs[row]) if is_image else _beginning(inputs[row]), float(weights[row]))
            for row in order[:MOST_WEIGHTS].tolist()
        )

    order = np.argsort(-weights, kind="stable")
    effective = effective_sample_size(weights)
    return InstanceWeights(weigh.method, len(weights), effective, listed(order), listed(order[::-1]))


def _beginning(input: Any) -> str:
    """The beginning of a text, or of the texts or cells of a row."""
    parts = [input] if isinstance(input, str) else input
    return ", ".join(str(part) for part in parts)[:_LONGEST]

"""Tokens of texts as inputs of a graph."""

from __future__ import annotations

import numpy as np

from transfer_core.export.operators import Graph, Value
from transfer_core.features.tokens import PADDING

IDS, MASK, TYPES, TEXT = "input_ids", "attention_mask", "token_type_ids", "text_of_window"


def token_inputs(graph: Graph, has_types: bool) -> Value:
    """Declare the inputs of tokens, and join them as backbones take them: (N, L, 2) int32."""
    names = (IDS, TYPES) if has_types else (IDS,)
    ids, *types = (graph.input(name, np.int64, ["N", "L"]) for name in names)
    is_token = graph.input(MASK, np.int64, ["N", "L"]).apply("Greater", 0, dtype=bool)
    parts = [is_token.choose(part, PADDING) for part in (ids, *types)]
    if not types:
        parts.append(is_token.choose(ids * 0, PADDING))
    last = graph.constant(np.array([2]))
    apart = [part.apply("Unsqueeze", last) for part in parts]
    return apart[0].joined(*apart[1:], axis=2).cast(np.int32)


def mean_of_windows(embeddings: Value) -> Value:
    """Declare the input of each window's text, and average the embeddings of its windows."""
    graph = embeddings.graph
    text = graph.input(TEXT, np.int64, ["N"])
    stop = text.apply("ReduceMax", keepdims=0) + 1
    limits = [graph.constant(np.array(0)), stop, graph.constant(np.array(1))]
    (numbers,) = graph.add("Range", limits, (np.int64,))
    is_own = numbers.reshape(-1, 1).apply("Equal", text, dtype=bool).cast(np.float32)  # (texts, N)
    count = is_own.sum(1, keepdims=True)
    return (is_own @ embeddings) / count

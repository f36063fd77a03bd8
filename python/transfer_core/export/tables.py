"""Rows of a table as inputs of a graph, and their embedding by scikit-learn's transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from transfer_core.export.operators import ML, Graph, Value
from transfer_core.export.transformers import through

NUMBERS, CATEGORIES = "numbers", "categories"
# Stands for any text that is no category of the training.
_UNKNOWN = "\x00"


def table_embedding(graph: Graph, columns: Any, estimators: Sequence[Any]) -> Value:
    """Declare the inputs of a table and embed its rows, (N, D) float64.

    Parameters
    ----------
    columns
        `table_columns.Columns`.
    estimators
        Fitted transformers; only the first may be a `ColumnTransformer`.
    """
    first, *others = estimators
    if type(first).__name__ != "ColumnTransformer":
        return through(_numbers(graph, columns), estimators)
    parts = []
    for name, transformer, places in first.transformers_:
        if name == "numbers":
            parts.append(through(_numbers(graph, columns), [step for _, step in transformer.steps]))
        elif name == "categories":
            parts.append(_one_hot(graph, transformer, len(places)))
    return through(parts[0].joined(*parts[1:], axis=1), others)


def _numbers(graph: Graph, columns: Any) -> Value:
    return graph.input(NUMBERS, np.float64, ["N", len(columns.places(numeric=True))])


def _one_hot(graph: Graph, encoder: Any, width: int) -> Value:
    """Look up the row of outputs of each category in a table that the encoder makes."""
    texts = graph.input(CATEGORIES, np.dtype("O"), ["N", width])
    ends = np.cumsum([0, *encoder._n_features_outs])
    parts = []
    for column, known in enumerate(encoder.categories_):
        rows = np.array([[some[0] for some in encoder.categories_]] * (len(known) + 1), dtype=object)
        rows[:, column] = [*known, _UNKNOWN]
        outputs = encoder.transform(rows)[:, ends[column] : ends[column + 1]]
        own = texts.apply("Gather", graph.constant(np.array(column)), axis=1)
        number = own.apply(
            "LabelEncoder",
            dtype=np.int64,
            domain=ML,
            keys_strings=[str(category) for category in known],
            values_int64s=list(range(len(known))),
            default_int64=len(known),
        )
        table = graph.constant(outputs.astype(np.float64))
        parts.append(table.apply("Gather", number, axis=0))
    return parts[0].joined(*parts[1:], axis=1)

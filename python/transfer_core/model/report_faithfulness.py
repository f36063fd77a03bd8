"""Faithfulness of explanations for a report, within a limit of time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from transfer_core.data import Dataset
from transfer_core.report.parts import Faithfulness
from transfer_core.runtime.errors import DataError
from transfer_core.tasks.criteria import VALUES

if TYPE_CHECKING:
    from transfer_core.model.model import Model

_MOST_INPUTS, _MOST_SECONDS = 20, 15.0


def faithfulness_on(model: Model, dataset: Dataset) -> Faithfulness | None:
    """Measure explanations on some inputs, if that is estimated to take at most 15 seconds.

    Returns
    -------
    Faithfulness | None
        None for rows, pairs of texts, regressions, and inputs that can't be read any more.
    """
    order = np.random.default_rng(0).permutation(len(dataset)).tolist()
    inputs = [dataset.inputs[row] for row in order if dataset.inputs[row] != dataset.digests[row]]
    inputs = [one for one in inputs if isinstance(one, str)][:_MOST_INPUTS]
    values = model.task.criterion.layout == VALUES  # type: ignore[attr-defined]
    if not inputs or values or model.modality.name == "table":
        return None
    try:
        return _within(model, inputs)
    except DataError:
        return None


def _within(model: Model, inputs: Sequence[Any]) -> Faithfulness:
    """The measures, if the time of one input, estimated after a first one, allows."""
    model.faithfulness(inputs[:1], steps=1)  # builds the network
    started = time.monotonic()
    model.faithfulness(inputs[-1:])
    seconds = (time.monotonic() - started) * len(inputs)
    measures = None if seconds > _MOST_SECONDS else model.faithfulness(inputs).to_dict()
    return Faithfulness(measures, seconds)

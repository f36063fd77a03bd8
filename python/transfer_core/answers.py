"""What the outputs of a head say: probabilities or values, told to a user or held against the truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from transfer_core.metrics import classification_metrics, regression_metrics
from transfer_core.model_file import ModelHeader


def answers(outputs: Tensor, header: ModelHeader) -> Tensor:
    """Outputs (N, K) as probabilities, or as values in the units of the targets; (N, K) float64."""
    if header.task == "classification":
        return (outputs.double() / header.temperature).softmax(dim=1)
    assert header.target_scaling is not None
    mean = torch.tensor(header.target_scaling.mean, dtype=torch.float64)
    scale = torch.tensor(header.target_scaling.scale, dtype=torch.float64)
    return outputs.double() * scale + mean


def prediction(answer: list[float], header: ModelHeader) -> dict[str, Any]:
    """One row of `answers` in the words of docs/protocol.md."""
    named = dict(zip(header.labels, answer, strict=True))
    if header.task == "regression":
        return {"values": named} if len(answer) > 1 else {"value": answer[0]}
    scores = dict(sorted(named.items(), key=lambda pair: -pair[1]))
    label, score = next(iter(scores.items()))
    return {"label": label, "score": score, "scores": scores}


def metrics(answers: Tensor, targets: npt.NDArray[Any], header: ModelHeader) -> dict[str, Any]:
    """How near `answers` come to the truth (N,) or (N, K), beside the trivial baseline."""
    seed = int(header.recipe["seed"])
    if header.task == "classification":
        trained = np.repeat(np.arange(len(header.labels)), header.label_counts)
        return classification_metrics(answers.numpy(), targets, header.labels, trained, seed)
    assert header.target_scaling is not None
    # All that the baseline needs of the training targets is their mean.
    mean = np.array([header.target_scaling.mean])
    return regression_metrics(answers.numpy(), targets, header.labels, mean, seed)

"""Predict with a head on pooled embeddings; implements `predictor.PredictorModule`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from transfer_core.data import Dataset
from transfer_core.features import (
    Extractor,
    FeatureStore,
    Load,
    Views,
    build_extractor,
    embed_dataset,
)
from transfer_core.heads import build_head
from transfer_core.heads.fitted_layer import FittedLayer
from transfer_core.model.restore import Misfit, check_numbers, under
from transfer_core.model_file.format import HEAD_PREFIX, ModelHeader
from transfer_core.recipe.parser import parse_recipe
from transfer_core.recipe.schema import Head
from transfer_core.runtime.devices import choose_like, threads_for_work
from transfer_core.runtime.errors import DataError, RecipeError
from transfer_core.runtime.progress import Progress
from transfer_core.tasks import PooledTask

if TYPE_CHECKING:
    from transfer_core.model.model import Model

Embeddings: TypeAlias = npt.NDArray[np.float32]

# Products of weights with embeddings stay within 32-bit numbers.
_LARGEST = 1e30


class PooledPredictor:
    """See `predictor.Predictor`; `compute` gives embeddings (N, D) float32."""

    def __init__(self, model: Model, task: PooledTask[Any]) -> None:
        self._model = model
        self._task = task

    @cached_property
    def extractor(self) -> Extractor:
        """Computes embeddings of inputs."""
        recipe = self._model.recipe
        device, precision = choose_like(recipe.device, recipe.precision)
        return build_extractor(self._model.backbone, device, precision, recipe.text)

    @property
    def concurrent(self) -> bool:
        """See `Predictor`."""
        return self.extractor.device.type == "cpu"

    @property
    def batch_size(self) -> int:
        """See `Predictor`."""
        return self.extractor.batch_size

    def prepare(self) -> None:
        """See `Predictor`."""
        self.extractor.prepare()

    def load(self, input: Any, name: str | None = None) -> Any:
        """See `Predictor`."""
        return self.extractor.load(input, name)

    def compute(self, loads: Sequence[Load]) -> tuple[Embeddings, dict[int, DataError]]:
        """See `Predictor`."""
        bad: dict[int, DataError] = {}
        rows = torch.empty(len(loads), self.extractor.width)
        for batch in self.extractor.embed_all(loads, few=True):
            for row, outcome in batch:
                if isinstance(outcome, DataError):
                    bad[row] = outcome
                elif outcome.shape != rows.shape[1:]:
                    raise Misfit(f"embedding_width: its network gives {outcome.numel()} numbers")
                else:
                    rows[row] = outcome
        if bad:
            rows = rows[[row for row in range(len(loads)) if row not in bad]]
        if not rows.isfinite().all():
            raise Misfit("its embeddings are not finite numbers")
        return rows.numpy(), dict(sorted(bad.items()))

    def predictions(self, computed: Embeddings, level: float | None) -> list[dict[str, Any]]:
        """See `Predictor`."""
        values = self._decoded(torch.from_numpy(np.asarray(computed)))
        if not values.isfinite().all():
            raise Misfit("its predictions are not finite numbers")
        labels, state = self._model.labels, self._model.state
        return [self._task.prediction(row, labels, state, level) for row in values.tolist()]

    def evaluate(self, dataset: Dataset, on_bad_input: str, progress: Progress) -> dict[str, Any]:
        """See `Predictor`."""
        store = None if self._model.header.backbone.fine_tuned else FeatureStore()
        once, many = [1] * len(dataset), self._model.modality.many
        found = embed_dataset(
            dataset, once, Views(), self.extractor, store, progress, "evaluate", on_bad_input, many
        )
        dataset = dataset.take(i for i, path in enumerate(dataset.inputs) if path not in found.bad)
        if not len(dataset):
            raise DataError(f"none of the {many} to measure on can be read")
        return self.score(found.embeddings, dataset.targets)

    def score(self, embeddings: Tensor, targets: npt.NDArray[Any]) -> dict[str, Any]:
        """Compute metrics and baseline from embeddings (N, D) and targets (N,) or (N, K)."""
        model = self._model
        seed = int(model.header.recipe.get("seed", 0))
        return self._task.metrics(self._decoded(embeddings), targets, model.labels, model.state, seed)

    @torch.no_grad()
    def _decoded(self, embeddings: Tensor) -> Tensor:
        # The work of a linear head is rows times parameters; other heads need about as much.
        with threads_for_work(len(embeddings) * self._head_size):
            return self._task.decode(self._model.head(embeddings), self._model.state)

    @cached_property
    def _head_size(self) -> int:
        return sum(tensor.numel() for tensor in self._model.head.state_dict().values())


def predictor(model: Model) -> PooledPredictor:
    """See `PredictorModule`."""
    assert isinstance(model.task, PooledTask)
    return PooledPredictor(model, model.task)


def restore_head(header: ModelHeader, tensors: Mapping[str, Tensor]) -> nn.Sequential:
    """Restore the head of a saved model, in eval mode.

    Raises
    ------
    Misfit
        It does not fit the header, or its outputs are not finite.
    """
    outputs = len(header.labels)
    try:
        head = build_head(_head_in(header), header.embedding_width, outputs, None)
        head.load_state_dict(under(HEAD_PREFIX, tensors), assign=True)
    except (IndexError, RuntimeError) as error:  # torch raises these for wrong shapes, dtypes and devices
        raise Misfit("its head does not fit its header") from error
    check_numbers(head, HEAD_PREFIX)
    for layer in head:
        if isinstance(layer, FittedLayer):
            _check_fitted(layer, header.embedding_width, outputs)
        elif parameter := _too_large(layer):
            raise Misfit(f"its head has the weight {parameter:g}, expected at most {_LARGEST:g}")
    head.eval().requires_grad_(False)
    try:
        # An expanded tensor takes no memory, for any width in the header.
        with torch.no_grad():
            found = head(torch.zeros(1, 1).expand(1, header.embedding_width))
    except (IndexError, RuntimeError) as error:
        raise Misfit("its head does not fit its header") from error
    if found.shape != (1, outputs) or not found.isfinite().all():
        raise Misfit("its head does not give a finite number for each label")
    return head


def _check_fitted(layer: FittedLayer, width: int, outputs: int) -> None:
    try:
        layer.check(width, outputs)
    except ValueError as error:
        raise Misfit(str(error)) from None


def _head_in(header: ModelHeader) -> Head:
    try:
        recipe = parse_recipe(header.recipe)
    except RecipeError as error:
        raise Misfit(f"its recipe is wrong: {error}") from error
    if recipe.head is None:
        raise Misfit("its recipe has no head")
    return recipe.head


def _too_large(layer: nn.Module) -> float:
    """Largest absolute parameter of a layer if beyond `_LARGEST`, else 0."""
    largest = max((float(p.detach().abs().max()) for p in layer.parameters() if p.numel()), default=0.0)
    return largest if largest > _LARGEST else 0.0

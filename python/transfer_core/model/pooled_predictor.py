"""Predict with a head on pooled embeddings; implements `predictor.PredictorModule`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from transfer_core.data import Dataset
from transfer_core.features import (
    Extractor,
    FeatureStore,
    Load,
    Views,
    build_extractor,
    embed_dataset,
)
from transfer_core.heads import Head
from transfer_core.heads.novelty import UNKNOWN
from transfer_core.heads.restored import restored
from transfer_core.heads.scaling import parts_of
from transfer_core.metrics.groups import group_metrics
from transfer_core.model.restore import Misfit, under
from transfer_core.model_file.format import HEAD_PREFIX, ModelHeader
from transfer_core.recipe import heads as specs
from transfer_core.recipe.parser import parse_recipe
from transfer_core.runtime.devices import choose_like
from transfer_core.runtime.errors import DataError, RecipeError
from transfer_core.runtime.parallel import map_on_cores, one_blas_thread
from transfer_core.runtime.progress import Progress
from transfer_core.tasks import PooledTask
from transfer_core.tasks.criteria import CLASSES

if TYPE_CHECKING:
    from transfer_core.model.inference import Inference

Embeddings: TypeAlias = npt.NDArray[np.float32]


# Embeddings for which a core computes outputs at a time.
_ROWS_AT_ONCE = 4096


class PooledPredictor:
    """See `predictor.Predictor`; `compute` gives embeddings (N, D) float32."""

    def __init__(self, model: Inference, task: PooledTask[Any]) -> None:
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
        rows = np.empty((len(loads), self.extractor.width), np.float32)
        for batch in self.extractor.embed_all(loads, few=True):
            for row, outcome in batch:
                if isinstance(outcome, DataError):
                    bad[row] = outcome
                elif outcome.shape != rows.shape[1:]:
                    raise Misfit(f"embedding_width: its network gives {np.size(outcome)} numbers")
                else:
                    rows[row] = outcome
        if bad:
            rows = rows[[row for row in range(len(loads)) if row not in bad]]
        if not np.isfinite(rows).all():
            raise Misfit("its embeddings are not finite numbers")
        return rows, dict(sorted(bad.items()))

    def running(self) -> None:
        """See `Predictor`."""

    def predictions(self, computed: Embeddings, level: float | None) -> list[dict[str, Any]]:
        """See `Predictor`."""
        embeddings = np.asarray(computed)
        return self.described(self.values(embeddings), embeddings, level)

    def described(
        self, values: npt.NDArray[np.float64], embeddings: Embeddings, level: float | None
    ) -> list[dict[str, Any]]:
        """Predictions from results of `values` (N, K), and novelty of the embeddings (N, D)."""
        if not np.isfinite(values).all():
            raise Misfit("its predictions are not finite numbers")
        labels, state = self._model.labels, self._model.state
        found = [self._task.prediction(row, labels, state, level) for row in values.tolist()]
        if detector := self._model.novelty:
            for prediction, novelty in zip(found, detector(embeddings).tolist(), strict=True):
                prediction |= {"novelty": novelty, "unknown": novelty >= UNKNOWN}
        return found

    def evaluate(self, dataset: Dataset, on_bad_input: str, progress: Progress) -> dict[str, Any]:
        """See `Predictor`."""
        return self.score(*self.embed_readable(dataset, on_bad_input, progress))

    def embed_readable(
        self, dataset: Dataset, on_bad_input: str, progress: Progress
    ) -> tuple[Embeddings, Dataset]:
        """Embeddings (N, D) of the N readable inputs of a dataset, and these; raises as `evaluate` does."""
        store = None if self._model.header.backbone.fine_tuned else FeatureStore()
        once, many = [1] * len(dataset), self._model.modality.many
        found = embed_dataset(
            dataset, once, Views(), self.extractor, store, progress, "evaluate", on_bad_input, many
        )
        dataset = dataset.take(i for i, path in enumerate(dataset.inputs) if path not in found.bad)
        if not len(dataset):
            raise DataError(f"none of the {many} to measure on can be read")
        return np.asarray(found.embeddings), dataset

    def score(self, embeddings: Embeddings, dataset: Dataset) -> dict[str, Any]:
        """Compute metrics and baseline from embeddings (N, D) of a dataset, and by group if it has groups."""
        model, task, values = self._model, self._task, self.values(embeddings)
        given = dataset.targets, model.labels, model.state
        seed = int(model.header.recipe.get("seed", 0))
        metrics = task.metrics(values, *given, seed)
        if not any(dataset.subgroups):
            return metrics
        metric, scores, lower = task.example_scores(values, *given)
        classes = [model.labels[n] for n in dataset.targets] if task.criterion.layout == CLASSES else None
        groups = group_metrics(metric, scores, dataset.subgroups, seed, lower, classes)
        return {**metrics, "groups": groups}

    def values(self, embeddings: Embeddings) -> npt.NDArray[np.float64]:
        """Decoded outputs (N, K) of the head for embeddings (N, D): probabilities, or values."""
        head = self._model.head
        assert isinstance(head, Head)
        parts = list(parts_of(embeddings, _ROWS_AT_ONCE)) or [embeddings]
        # Numbers that are not finite are reported by the callers.
        with one_blas_thread(), np.errstate(all="ignore"):
            outputs = np.concatenate(list(map_on_cores(head, parts)))
            return self._task.decode(outputs, self._model.state)


def predictor(model: Inference) -> PooledPredictor:
    """See `PredictorModule`."""
    assert isinstance(model.task, PooledTask)
    return PooledPredictor(model, model.task)


def restore_head(header: ModelHeader, arrays: Mapping[str, npt.NDArray[Any]]) -> Head:
    """Restore the head of a saved model.

    Raises
    ------
    Misfit
        It does not fit the header, or its outputs are not finite.
    """
    width, outputs = header.embedding_width, len(header.labels)
    arrays = under(HEAD_PREFIX, arrays)
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            number = "NaN" if np.isnan(array).any() else "infinity"
            raise Misfit(f"{HEAD_PREFIX}{name}: expected finite numbers (got {number})")
    try:
        head = restored(_head_in(header), arrays, width, outputs)
    except ValueError as error:
        raise Misfit(str(error)) from error
    # An array with steps of 0 takes no memory, for any width in the header.
    with np.errstate(all="ignore"):
        found = head(np.broadcast_to(np.float32(0), (1, width)))
    if found.shape != (1, outputs) or not np.isfinite(found).all():
        raise Misfit("its head does not give a finite number for each label")
    return head


def _head_in(header: ModelHeader) -> specs.Head:
    try:
        recipe = parse_recipe(header.recipe)
    except RecipeError as error:
        raise Misfit(f"its recipe is wrong: {error}") from error
    if recipe.head is None:
        raise Misfit("its recipe has no head")
    return recipe.head

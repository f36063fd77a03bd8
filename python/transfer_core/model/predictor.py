"""Predictors: from inputs to predictions and metrics, one module per representation that a task needs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

from transfer_core.backbones.representations import Representation
from transfer_core.data import Dataset
from transfer_core.features import Load
from transfer_core.model_file.format import ModelHeader
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.progress import Progress
from transfer_core.tasks import Task
from transfer_core.tasks.criteria import Array

if TYPE_CHECKING:
    from transfer_core.model.inference import Inference

# A sequence or an array with one entry per input.
Computed: TypeAlias = Any


class SavedHead(Protocol):
    """A head, or a torch module in eval mode."""

    def state_dict(self) -> Mapping[str, Any]:
        """Arrays or tensors by name, as in the file of a model."""


class RunningInputs(Protocol):
    """Inputs that are computed together in steps; each joins and leaves between two steps."""

    def join(self, loaded: Sequence[Any]) -> Sequence[Any]:
        """Add results of `Predictor.load`; returns a hashable key for each."""

    def step(self) -> Sequence[tuple[Any, Computed]]:
        """Compute a step; returns the results of finished inputs by key, as `compute` gives them."""

    def drop(self, keys: Collection[Any]) -> None:
        """Remove unfinished inputs."""


class Predictor(Protocol):
    """Predicts with a trained model."""

    @property
    def concurrent(self) -> bool:
        """Whether several threads may compute at the same time, one core each."""

    @property
    def batch_size(self) -> int:
        """Fastest number of inputs per forward pass."""

    def prepare(self) -> None:
        """Make ready what the first input would wait for."""

    def load(self, input: Any, name: str | None = None) -> Any:
        """Load an input for the network; errors call it `name`. Raises `DataError`."""

    def compute(self, loads: Sequence[Load]) -> tuple[Computed, dict[int, DataError]]:
        """See `Inference.compute`."""

    def running(self) -> RunningInputs | None:
        """No inputs yet, of a network that computes in steps; None if it computes at once."""

    def predictions(self, computed: Computed, level: float | None) -> list[dict[str, Any]]:
        """Predict from results of `compute` as plain data (docs/reference/protocol.md)."""

    def evaluate(self, dataset: Dataset, on_bad_input: str, progress: Progress) -> dict[str, Any]:
        """Metrics on a dataset, beside a baseline; raises `DataError` if none of its inputs can be read."""


class PredictorModule(Protocol):
    """The functions of a module of predictors."""

    def restore_head(self, header: ModelHeader, arrays: Mapping[str, Array]) -> SavedHead:
        """Restore the head of a saved model from the arrays of its file.

        Raises
        ------
        Misfit
            It does not fit the header, or its outputs are not finite.
        """

    def predictor(self, model: Inference) -> Predictor:
        """The predictor of a model."""


_MODULES: dict[Representation, str] = {
    "pooled": "transfer_core.model.pooled_predictor",
    "feature_maps": "transfer_core.model.detection_predictor",
    "encoder_decoder": "transfer_core.model.text_predictor",
}


def predictor_module(task: Task[Any]) -> PredictorModule:
    """The module of predictors for a task; imports it."""
    return cast(PredictorModule, import_module(_MODULES[task.needs]))

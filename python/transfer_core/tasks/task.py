"""The interface of a task: everything that differs between classes, label sets, numbers, boxes or texts.

A task is one module with a subclass of `Task`, and one line in `tasks/task_registry.py`. Tasks whose heads
output numbers (N, K) for a vector per input are subclasses of `PooledTask`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Generic, Literal, NamedTuple, TypeAlias, TypeVar, get_args

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from transfer_core.backbones.representations import Representation
from transfer_core.data import Dataset, DataSplits
from transfer_core.data.example import Example
from transfer_core.data.labelling import Strata, Targets
from transfer_core.recipe.heads import ClassicHead, Head, LinearHead, MlpHead
from transfer_core.recipe.schema import Columns
from transfer_core.runtime.progress import Progress
from transfer_core.tasks.criteria import Array, Criterion

# Targets are 32-bit numbers, and so are outputs: no value in a saved state comes near these limits.
Amount: TypeAlias = Annotated[int, Meta(ge=0, le=2**53)]
Value: TypeAlias = Annotated[float, Meta(ge=-1e100, le=1e100)]
Size: TypeAlias = Annotated[float, Meta(ge=0, le=1e100)]
Temperature: TypeAlias = Annotated[float, Meta(ge=1e-3, le=1e3)]


class State(msgspec.Struct, frozen=True, kw_only=True):
    """State of a task in a saved model: statistics of the training targets, calibration."""

    def problems(self, labels: Sequence[str]) -> Iterator[str]:
        """Violated rules between these fields and `labels`; for states read from files."""
        yield from ()


class ExampleScores(NamedTuple):
    """The name of a metric that is a mean over examples, their `scores` (N,) float64, and whether lower ones
    are better."""

    metric: str
    scores: Array
    lower_is_better: bool = False


class Recognition(NamedTuple):
    """Labels that suggest a task; `warning` where another one may be meant."""

    warning: str | None = None


S = TypeVar("S", bound=State)


class Task(ABC, Generic[S]):
    """Labels of one task: reading, checking and statistics.

    Attributes
    ----------
    name
        The name of the task in a recipe.
    noun, nouns
        Singular and plural of a label in messages.
    categorical
        Whether labels are names: each must occur in training, and no input has two different ones.
    needs
        The representation that a backbone must output: `pooled`, `feature_maps`, `tokens`, `encoder_decoder`.
        It determines the pipeline (`pipeline.steps`) and the predictor (`model.predictor`).
    loss
        The name of the loss in a recipe.
    heads
        The types of heads that fit the task.
    default_head
        The head of a recipe without one; None if there is none to add.
    state_type
        The type of the state; its tag is `name`.
    """

    name: ClassVar[str]
    noun: ClassVar[str]
    nouns: ClassVar[str]
    categorical: ClassVar[bool]
    needs: ClassVar[Representation]
    loss: ClassVar[str]
    heads: ClassVar[tuple[type[msgspec.Struct], ...]]
    default_head: ClassVar[Head | None]
    state_type: type[S]

    # Reading data: see `data.labelling.Labelling`.

    def checked(
        self, examples: Sequence[Example], on_bad_input: Literal["raise", "skip"], progress: Progress
    ) -> Sequence[Example]:
        """Check labels against their inputs. Default: no checks."""
        return examples

    @abstractmethod
    def encode(
        self, examples: Sequence[Example], columns: Columns, labels: Sequence[str] | None = None
    ) -> tuple[tuple[str, ...], Targets]:
        """The names of the outputs, and the targets (N, …)."""

    @abstractmethod
    def strata(self, targets: Targets) -> Strata:
        """Strata of a stratified split."""

    def recognize(self, labels: Sequence[Any]) -> Recognition | None:
        """Whether `labels` (plain Python values and `Cell`s, at least one) suggest this task where the recipe
        names none. Default: never."""
        return None

    def counts(self, targets: Targets, labels: Sequence[str]) -> npt.NDArray[np.int64]:
        """Examples per label, (K,)."""
        return np.zeros(0, np.int64)

    def indices(self, target: Any) -> Sequence[int]:
        """The numbers of the labels of one example."""
        return ()

    def describe(self, target: Any, labels: Sequence[str]) -> Any:
        """The target of one example as plain data."""
        return target

    @abstractmethod
    def variety_problem(
        self, labels: Sequence[str], targets: Targets, inputs: str, part: str = ""
    ) -> str | None:
        """An error message if the targets do not vary."""

    def copy_keys(self, inputs: Sequence[Any], digests: Sequence[str]) -> Sequence[str]:
        """A key per input: those with the same key are copies. Default: the digests."""
        return digests

    def data_warnings(self, splits: DataSplits, weighted: bool) -> Iterator[str]:
        """Properties of the data that make metrics mislead."""
        yield from ()

    def precision_of(self, measured: int) -> str:
        """The resolution of metrics on `measured` examples, as a clause."""
        return ""

    # Training.

    @abstractmethod
    def fit(self, labels: Sequence[str], train: Dataset) -> S:
        """Statistics of the training targets."""

    def class_weight_problems(
        self, class_weights: Mapping[str, float] | str, labels: Sequence[str]
    ) -> Iterator[str]:
        """Messages about class weights, `balanced` or by label, that this task can't use."""
        yield from ()

    def conformal_scores(self, state: S) -> Sequence[Sequence[float]] | None:
        """Sorted nonconformity scores of held-out examples, per output; None where prediction sets are not
        defined."""
        return None


class PooledTask(Task[S]):
    """A task whose heads output numbers (N, K) for embeddings (N, D).

    Attributes
    ----------
    criterion
        The loss that heads and the backbone are trained with.
    main_metric
        The metric, with a bootstrap interval, by which models are compared; the higher, the better.
    """

    needs: ClassVar[Representation] = "pooled"
    heads: ClassVar[tuple[type[msgspec.Struct], ...]] = (LinearHead, MlpHead, *get_args(ClassicHead))
    default_head: ClassVar[Head | None] = LinearHead()
    criterion: ClassVar[Criterion]
    main_metric: ClassVar[str]

    def targets(self, dataset: Dataset, state: S) -> Array:
        """Targets (N, …) as the loss takes them."""
        return dataset.targets

    def weights(
        self,
        dataset: Dataset,
        labels: Sequence[str],
        state: S,
        class_weights: Mapping[str, float] | str | None,
    ) -> Array:
        """Weight of each example in the loss, (N,) float32, or (N, K) where each label has its own."""
        return np.ones(len(dataset), np.float32)

    # Prediction.

    @abstractmethod
    def decode(self, outputs: Array, state: S) -> Array:
        """Outputs (N, K) of a head as probabilities or as values in the units of the targets, float64."""

    @abstractmethod
    def prediction(
        self, values: list[float], labels: Sequence[str], state: S, level: float | None
    ) -> dict[str, Any]:
        """One decoded row as plain data (docs/reference/protocol.md); with a `level` its prediction set or
        interval at that coverage."""

    @abstractmethod
    def metrics(
        self, values: Array, targets: Array, labels: Sequence[str], state: S, seed: int
    ) -> dict[str, Any]:
        """Metrics of decoded rows (N, K) against the truth, beside those of a trivial baseline."""

    @abstractmethod
    def example_scores(self, values: Array, targets: Array, labels: Sequence[str], state: S) -> ExampleScores:
        """A score of each decoded row (N, K) against the truth, whose mean is compared between groups."""

    @abstractmethod
    def calibrate(self, state: S, outputs: Array, targets: Array) -> S:
        """Calibrate on outputs (M, K), M ≥ 1, for held-out examples with `targets` as in the loss."""

    def calibration_warnings(self, labels: Sequence[str], state: S, targets: Array) -> Iterator[str]:
        """Labels whose calibration had no examples among the held-out `targets`."""
        yield from ()

    def shift_warnings(self, calibration: Array, splits: DataSplits, seed: int) -> Iterator[str]:
        """Differences between the targets of calibration and test examples."""
        yield from ()

    def text_baseline(self, train: Dataset, test: Dataset) -> dict[str, float]:
        """Metrics of a bag-of-words model on the same texts; empty where none is defined."""
        return {}

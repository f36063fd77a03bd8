"""The interface of a task for reading and splitting data; `tasks.Task` implements it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from transfer_core.data.example import Example
from transfer_core.recipe.schema import Columns, Recipe
from transfer_core.runtime.progress import Progress

if TYPE_CHECKING:
    from transfer_core.data.dataset import DataSplits

# A row per example along the first axis. Ragged targets (boxes, token ids) are an object array (N,).
Targets: TypeAlias = npt.NDArray[Any]
# The class of each row, or which row has which label, bool (N, K).
Strata: TypeAlias = Sequence[int] | npt.NDArray[np.bool_]


class Labelling(Protocol):
    """Encoding and checking of labels, per task.

    Attributes
    ----------
    name
        The name of the task in a recipe.
    noun, nouns
        Singular and plural of a label in messages: `class`, `classes`.
    categorical
        Whether labels are names, so that each must occur in training and no input has two different ones.
    """

    name: ClassVar[str]
    noun: ClassVar[str]
    nouns: ClassVar[str]
    categorical: ClassVar[bool]

    def checked(
        self, examples: Sequence[Example], on_bad_input: Literal["raise", "skip"], progress: Progress
    ) -> Sequence[Example]:
        """Check labels against their inputs; an unusable example gets a `problem`.

        Parameters
        ----------
        examples
            N labelled examples.
        on_bad_input
            With `skip`, parts of a label that can be left out are, with a warning.
        progress
            Progress events, warnings and cancellation.
        """

    def encode(
        self, examples: Sequence[Example], columns: Columns, labels: Sequence[str] | None = None
    ) -> tuple[tuple[str, ...], Targets]:
        """Encode labels: the names of the outputs, and the targets (N, …).

        Parameters
        ----------
        examples
            N labelled examples.
        columns
            The target columns.
        labels
            The labels of a trained model. Default: those of the examples.

        Raises
        ------
        DataError
            A label is missing, malformed or not one of `labels`.
        """

    def strata(self, targets: Targets) -> Strata:
        """Strata of a stratified split."""

    def counts(self, targets: Targets, labels: Sequence[str]) -> npt.NDArray[np.int64]:
        """Examples per label, (K,); empty unless `categorical`."""

    def indices(self, target: Any) -> Sequence[int]:
        """The numbers of the labels of one example; empty unless `categorical`."""

    def describe(self, target: Any, labels: Sequence[str]) -> Any:
        """The target of one example as plain data: a name, a list of names, or numbers."""

    def variety_problem(
        self, labels: Sequence[str], targets: Targets, inputs: str, part: str = ""
    ) -> str | None:
        """An error message if the targets do not vary.

        Parameters
        ----------
        labels
            K names.
        targets
            (N, …) encoded targets.
        inputs
            The plural of the kind of input.
        part
            `training ` if the targets are those of one part. Default: empty.
        """

    def copy_keys(self, inputs: Sequence[Any], digests: Sequence[str]) -> Sequence[str]:
        """A key per input: those with the same key are copies, of which none may be on both sides."""

    def data_warnings(self, splits: DataSplits, weighted: bool) -> Iterator[str]:
        """Properties of the data that make metrics mislead; `weighted`: rare labels have larger weights."""

    def precision_of(self, measured: int) -> str:
        """The resolution of metrics on `measured` examples, as a clause; may be empty."""


# From a recipe and all labels to the task, and a warning where another task may be meant.
ChooseTask: TypeAlias = Callable[[Recipe, Iterable[Any]], tuple[Labelling, str | None]]

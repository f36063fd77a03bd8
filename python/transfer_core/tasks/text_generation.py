"""Tasks whose outputs are texts: translation, and text to text (summaries, corrections)."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from transfer_core.data import Dataset, DataSplits
from transfer_core.data.bad_input import printable
from transfer_core.data.example import Example
from transfer_core.data.labelling import Strata, Targets
from transfer_core.data.near_texts import normalized
from transfer_core.data.pair_checks import pair_problems, pair_warnings
from transfer_core.metrics.text_overlap import text_metrics, translation_metrics
from transfer_core.recipe.schema import Columns
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.progress import Progress
from transfer_core.tasks.task import Amount, State, Task


class TranslationState(State, frozen=True, kw_only=True, tag="translation"):
    """`characters` is the mean length of the training targets."""

    characters: Amount = 0


class TextToTextState(State, frozen=True, kw_only=True, tag="text_to_text"):
    """`characters` is the mean length of the training targets."""

    characters: Amount = 0


class TextGeneration(Task[Any]):
    """A task whose targets are texts; see `Task`."""

    noun, nouns = "text", "texts"
    categorical = False
    needs = "encoder_decoder"
    loss = "token_cross_entropy"
    heads = ()
    default_head = None
    # Whether a target that equals its source is suspicious.
    copies_are_doubtful = False

    def checked(
        self, examples: Sequence[Example], on_bad_input: Literal["raise", "skip"], progress: Progress
    ) -> Sequence[Example]:
        """Mark pairs that can't be used: empty, of very different lengths, in another script than the rest;
        with `skip`, identical ones, too."""
        rows = [row for row, example in enumerate(examples) if example.problem is None]
        sources = [_source(examples[row]) for row in rows]
        targets = [_target(examples[row]) for row in rows]
        problems: dict[int, str] = pair_problems(sources, targets)
        if self.copies_are_doubtful and on_bad_input == "skip":
            same = (i for i, pair in enumerate(zip(sources, targets, strict=True)) if _equal(*pair))
            problems = dict.fromkeys(same, "the target is the source") | problems
        marked = list(examples)
        for place, reason in problems.items():
            marked[rows[place]] = replace(examples[rows[place]], problem=reason)
        return marked

    def encode(
        self, examples: Sequence[Example], columns: Columns, labels: Sequence[str] | None = None
    ) -> tuple[tuple[str, ...], Targets]:
        """The name of the target column, and the texts, an object array (N,)."""
        if not isinstance(columns.target, str):
            raise DataError(f"columns.target: {self.name} has one target, got {len(columns.target)} columns")
        texts = np.empty(len(examples), dtype=object)
        texts[:] = [_target(example) for example in examples]
        return tuple(labels or (columns.target,)), texts

    def strata(self, targets: Targets) -> Strata:
        """One stratum."""
        return [0] * len(targets)

    def describe(self, target: Any, labels: Sequence[str]) -> Any:
        """The text."""
        return target

    def variety_problem(
        self, labels: Sequence[str], targets: Targets, inputs: str, part: str = ""
    ) -> str | None:
        """The texts must differ."""
        if len(set(targets.tolist())) > 1:
            return None
        return f'every {part}target is "{printable(targets[0])}"; nothing to learn'

    def copy_keys(self, inputs: Sequence[Any], digests: Sequence[str]) -> Sequence[str]:
        """Digests of sources without case, punctuation and repeated spaces."""
        names = map(normalized, inputs)
        return [
            hashlib.sha256(name.encode()).hexdigest() if name else digest
            for name, digest in zip(names, digests, strict=True)
        ]

    def data_warnings(self, splits: DataSplits, weighted: bool) -> Iterator[str]:
        """Identical pairs, and pairs with other placeholders."""
        data = splits.train.joined(splits.valid, splits.test)
        sources, targets = [*map(str, data.inputs)], data.targets.tolist()
        yield from pair_warnings(sources, targets, self.copies_are_doubtful)

    def fit(self, labels: Sequence[str], train: Dataset) -> State:
        """The mean length of the targets."""
        mean = np.mean([len(text) for text in train.targets.tolist()]) if len(train) else 0
        return self.state_type(characters=int(mean))  # type: ignore[no-any-return]

    def class_weight_problems(
        self, class_weights: Mapping[str, float] | str, labels: Sequence[str]
    ) -> Iterator[str]:
        """There are no classes."""
        yield "a generated text has no class"

    @abstractmethod
    def metrics(
        self,
        predictions: Sequence[str],
        dataset: Dataset,
        seed: int,
        untuned: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """Metrics of predicted texts, beside those of a copied source and of the untuned model."""


class Translation(TextGeneration):
    """Texts in another language."""

    name = "translation"
    state_type = TranslationState
    copies_are_doubtful = True

    def metrics(
        self,
        predictions: Sequence[str],
        dataset: Dataset,
        seed: int,
        untuned: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """See `translation_metrics`."""
        sources = [*map(str, dataset.inputs)]
        return translation_metrics(predictions, dataset.targets.tolist(), sources, untuned, seed)


class TextToText(TextGeneration):
    """Summaries, corrections and the like."""

    name = "text_to_text"
    state_type = TextToTextState

    def metrics(
        self,
        predictions: Sequence[str],
        dataset: Dataset,
        seed: int,
        untuned: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """See `text_metrics`."""
        sources = [*map(str, dataset.inputs)]
        return text_metrics(predictions, dataset.targets.tolist(), sources, untuned, seed)


def _source(example: Example) -> str:
    if isinstance(example.input, tuple):
        raise DataError(f"{printable(example.name)}: a source is one text, got two")
    return str(example.input)


def _target(example: Example) -> str:
    label = "" if example.label is None else example.label
    if isinstance(label, str):
        return str(label)
    if isinstance(label, int | float) and not isinstance(label, bool):
        return str(label)
    raise DataError(f"{printable(example.name)}: the target is a text, not {type(label).__name__}")


def _equal(source: str, target: str) -> bool:
    return source.strip() == target.strip()

"""Transformers of scikit-learn, one after the other, as the one block of a backbone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from transfer_core.backbones.scikit_learn.table_columns import Columns
from transfer_core.backbones.scikit_learn.transformer_names import (
    COLUMNS,
    PIXELS,
    TRANSFORMERS,
    Step,
    refusal,
)
from transfer_core.data.bad_input import listed
from transfer_core.runtime.errors import DataError, did_you_mean

# Terms that an embedding of a text has at most: rows are dense, and a linear head works on the square of it.
MOST_TERMS = 4096
# From so many texts on, a term of only one of them is left out.
MANY_TEXTS = 1000
# Numbers of an embedding times inputs at a time: 1 GiB.
_MOST_NUMBERS = 2**28
# Categories of a column that are told apart at most, the rare ones taken together being one.
MOST_CATEGORIES = 256
# Rows that a category needs to be told apart.
RAREST_CATEGORY = 2


class Reader(Protocol):
    """How inputs become what scikit-learn calls X."""

    def read(self, input: Any, name: str | None = None) -> Any:
        """What is kept of an input until X is made of several; raises `DataError`, calling it `name`."""

    def parts(self, loaded: Sequence[Any]) -> list[Any]:
        """One X (N, …), or two whose embeddings are to stand beside each other."""


@dataclass(frozen=True)
class Pixels:
    """Images, loaded as uint8 (H, W, 3): their values as 0..1; without `color` the mean of each pixel."""

    color: bool = True

    def read(self, input: Any, name: str | None = None) -> Any:
        """See `Reader`; they come as pixels."""
        return input

    def parts(self, loaded: Sequence[Any]) -> list[Any]:
        """See `Reader`: (N, H·W·3) or (N, H·W) float32."""
        values = np.stack(loaded).astype(np.float32) / 255
        return [(values if self.color else values.mean(axis=3)).reshape(len(values), -1)]


@dataclass(frozen=True)
class Texts:
    """Texts, or with `paired` two of them side by side."""

    paired: bool = False

    def read(self, input: Any, name: str | None = None) -> Any:
        """See `Reader`."""
        if isinstance(input, tuple) is self.paired:
            return input
        what = "a list of two texts" if self.paired else "one text"
        raise DataError(f"{name or 'an input'}: expected {what}, as in training")

    def parts(self, loaded: Sequence[Any]) -> list[Any]:
        """See `Reader`."""
        return [list(side) for side in zip(*loaded, strict=True)] if self.paired else [list(loaded)]


@dataclass(frozen=True)
class Rows:
    """Rows of a table."""

    columns: Columns

    def read(self, input: Any, name: str | None = None) -> Any:
        """See `Reader`."""
        return self.columns.read(input, name)

    def parts(self, loaded: Sequence[Any]) -> list[Any]:
        """See `Reader`: (N, C)."""
        return [self.columns.array(loaded)]


class Chain(nn.Module):
    """Loaded inputs in, embeddings (N, D) float32 out; without parameters that a gradient could reach."""

    def __init__(self, reader: Reader, estimators: Sequence[Any]) -> None:
        super().__init__()
        self.reader = reader
        self.estimators = list(estimators)

    def forward(self, loaded: Sequence[Any]) -> Tensor:
        """Raises `DataError` where an input has no finite embedding."""
        parts = [self._through(part, len(loaded)) for part in self.reader.parts(loaded)]
        return torch.cat([torch.from_numpy(part) for part in parts], dim=1)

    def _through(self, values: Any, count: int) -> Any:
        for estimator in self.estimators:
            values = estimator.transform(values)
            if hasattr(values, "tocsr"):
                # A file may say anything, and scipy's C++ would believe it.
                values.check_format(full_check=True)
        numbers = math.prod(values.shape)
        if numbers > _MOST_NUMBERS:
            raise refusal(f"{self._names()} gives {numbers:,} numbers, expected at most {_MOST_NUMBERS:,}")
        dense = values.toarray() if hasattr(values, "tocsr") else np.asarray(values)
        dense = dense.astype(np.float32).reshape(count, -1)  # SparsePCA gives one row without its axis
        if not np.isfinite(dense).all():
            raise DataError(f"{self._names()} gives an infinite number, or none, for an input")
        return np.ascontiguousarray(dense)

    def _names(self) -> str:
        return " | ".join(type(estimator).__name__ for estimator in self.estimators)


def fit_chain(steps: Sequence[Step], reader: Reader, loaded: Sequence[Any], seed: int) -> Chain:
    """A chain fitted on these inputs, each transformer on what the one before it gives.

    Raises
    ------
    RecipeError
        At `backbone`, if a parameter is wrong or the inputs can't be fitted.
    """
    estimators = _estimators(steps, reader, len(loaded), seed)
    values = _stacked(reader.parts(loaded))
    for number, estimator in enumerate(estimators, start=1):
        try:
            if number < len(estimators):
                values = estimator.fit_transform(values)
            else:
                estimator.fit(values)
        except (ValueError, TypeError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise refusal(
                f"{type(estimator).__name__} can't be fitted on {len(loaded)} examples: {reason}"
            ) from error
    return Chain(reader, estimators)


def check_parameters(steps: Sequence[Step]) -> None:
    """Raise `RecipeError` at `backbone` if a step has a parameter that its transformer doesn't know."""
    for step in steps:
        if step.name == COLUMNS:
            _one_hot_parameters(step)
        elif step.name != PIXELS:
            _made(step, seed=0)


def category_bounds(step: Step) -> tuple[int, int]:
    """Categories of a column that are told apart at most, and the rows that each of them needs."""
    most, rarest = (
        step.parameters.get("max_categories"),
        step.parameters.get("min_frequency", RAREST_CATEGORY),
    )
    # A share of the rows is left to scikit-learn.
    return most or MOST_CATEGORIES, rarest if isinstance(rarest, int) else 1


def _stacked(parts: list[Any]) -> Any:
    return parts[0] if len(parts) == 1 else [text for part in parts for text in part]


def _estimators(steps: Sequence[Step], reader: Reader, examples: int, seed: int) -> list[Any]:
    estimators = []
    if isinstance(reader, Rows) and steps[0].name != COLUMNS:
        _check_numeric(reader.columns, steps[0].name)
        if TRANSFORMERS[steps[0].name] != "impute":
            estimators.append(_made(_MEDIAN, seed))
    for step in steps:
        if step.name == COLUMNS:
            assert isinstance(reader, Rows)
            estimators.append(_column_transformer(reader.columns, step, seed))
        elif step.name != PIXELS:
            usual = _usual_parameters(step.name, examples, is_last=step is steps[-1])
            estimators.append(_made(Step(step.name, {**usual, **step.parameters}), seed))
    return estimators


# A column that is empty in all rows has no median: it stays, as zeros, so that columns keep their places.
_MEDIAN = Step("SimpleImputer", {"strategy": "median", "keep_empty_features": True})


def _usual_parameters(name: str, examples: int, is_last: bool) -> dict[str, Any]:
    """Ours where scikit-learn's would give rows of a million numbers: pairs of words and a bound."""
    if not name.endswith("Vectorizer"):
        return {}
    usual: dict[str, Any] = {"ngram_range": (1, 2)}
    if name == "TfidfVectorizer":
        usual["sublinear_tf"] = True
    if name == "HashingVectorizer":
        return {**usual, "n_features": MOST_TERMS} if is_last else usual
    usual["min_df"] = 2 if examples >= MANY_TEXTS else 1
    return {**usual, "max_features": MOST_TERMS} if is_last else usual


def _column_transformer(columns: Columns, step: Step, seed: int) -> Any:
    """Numbers with the median for what is missing, on one scale; a column of 0 and 1 per category, rare ones
    and those that training has not seen together in one."""
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder

    numbers = [("impute", _made(_MEDIAN, seed)), ("scale", _made(Step("StandardScaler", {}), seed))]
    kinds = [
        ("numbers", Pipeline(numbers), columns.places(numeric=True)),
        ("categories", OneHotEncoder(**_one_hot_parameters(step)), columns.places(numeric=False)),
    ]
    return ColumnTransformer([kind for kind in kinds if kind[2]])


def _one_hot_parameters(step: Step) -> dict[str, Any]:
    if unknown := set(step.parameters) - {"min_frequency", "max_categories"}:
        takes = "min_frequency and max_categories, those of OneHotEncoder"
        raise refusal(f"{COLUMNS} takes {takes} (got {listed(sorted(unknown))})")
    usual = {"min_frequency": RAREST_CATEGORY, "max_categories": MOST_CATEGORIES}
    return {**usual, **step.parameters, "handle_unknown": "infrequent_if_exist", "sparse_output": False}


def _made(step: Step, seed: int) -> Any:
    """scikit-learn's estimator, which draws its random numbers from `seed` if nothing else is said."""
    known = getattr(import_module(f"sklearn.{TRANSFORMERS[step.name]}"), step.name)
    names = known._get_param_names()
    for word in step.parameters:
        if word not in names:
            nearest = did_you_mean(word, names) or f" (it takes {', '.join(names)})"
            raise refusal(f'{step.name} has no parameter "{word}"{nearest}')
    if step.parameters.get("input", "content") != "content":
        raise refusal(f"{step.name} gets the texts themselves: leave input out")
    seeded = {"random_state": seed} if "random_state" in names else {}
    return known(**{**seeded, **step.parameters})


def _check_numeric(columns: Columns, name: str) -> None:
    if texts := columns.named(numeric=False):
        raise DataError(
            f"sklearn:{name} takes numbers, but these columns hold texts: {listed(texts)}; "
            f"leave them out (columns: {{input: […]}}), or use sklearn:{COLUMNS}"
        )

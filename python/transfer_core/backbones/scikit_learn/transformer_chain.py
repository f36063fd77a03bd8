"""A pipeline of scikit-learn's transformers as the only block of a backbone."""

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

# Maximum number of terms of a text: rows are dense, and the cost of a linear head grows with its square.
MOST_TERMS = 4096
# With at least so many texts, terms that occur in only one are dropped.
MANY_TEXTS = 1000
# Limit of embedding width times batch size: 1 GiB.
_MOST_NUMBERS = 2**28
# Maximum number of categories per column, including one for all rare ones.
MOST_CATEGORIES = 256
# Minimum number of rows of a category that is not rare.
RAREST_CATEGORY = 2


class Reader(Protocol):
    """Converts inputs to scikit-learn's X."""

    def read(self, input: Any, name: str | None = None) -> Any:
        """Prepare one input; raises `DataError`, which calls it `name`."""

    def parts(self, loaded: Sequence[Any]) -> list[Any]:
        """Stack prepared inputs to one X (N, …), or to two whose embeddings are concatenated."""


@dataclass(frozen=True)
class Pixels:
    """Images, uint8 (H, W, 3), as values from 0 to 1; without `color`, the mean of each pixel's channels."""

    color: bool = True

    def read(self, input: Any, name: str | None = None) -> Any:
        """See `Reader`."""
        return input

    def parts(self, loaded: Sequence[Any]) -> list[Any]:
        """See `Reader`: (N, H·W·3) or (N, H·W) float32."""
        values = np.stack(loaded).astype(np.float32) / 255
        return [(values if self.color else values.mean(axis=3)).reshape(len(values), -1)]


@dataclass(frozen=True)
class Texts:
    """Texts, or pairs of texts if `paired`."""

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
    """Module that maps prepared inputs to embeddings (N, D) float32; it has no parameters of torch."""

    def __init__(self, reader: Reader, estimators: Sequence[Any]) -> None:
        super().__init__()
        self.reader = reader
        self.estimators = list(estimators)

    def forward(self, loaded: Sequence[Any]) -> Tensor:
        """Embed prepared inputs; raises `DataError` if an embedding is not finite."""
        parts = [self._through(part, len(loaded)) for part in self.reader.parts(loaded)]
        return torch.cat([torch.from_numpy(part) for part in parts], dim=1)

    def _through(self, values: Any, count: int) -> Any:
        for estimator in self.estimators:
            values = estimator.transform(values)
            if hasattr(values, "tocsr"):
                # Indices from an untrusted file: scipy's C++ does not check them.
                values.check_format(full_check=True)
        numbers = math.prod(values.shape)
        if numbers > _MOST_NUMBERS:
            raise refusal(f"{self._names()} outputs {numbers:,} numbers, expected at most {_MOST_NUMBERS:,}")
        dense = values.toarray() if hasattr(values, "tocsr") else np.asarray(values)
        dense = dense.astype(np.float32).reshape(count, -1)  # SparsePCA drops the axis of a single row
        if not np.isfinite(dense).all():
            raise DataError(f"{self._names()} outputs a number that is not finite for an input")
        return np.ascontiguousarray(dense)

    def _names(self) -> str:
        return " | ".join(type(estimator).__name__ for estimator in self.estimators)


def fit_chain(steps: Sequence[Step], reader: Reader, loaded: Sequence[Any], seed: int) -> Chain:
    """Fit transformers one after the other, each on the output of the one before.

    Parameters
    ----------
    steps
        The transformers with their parameters.
    reader
        Converts inputs to X.
    loaded
        Inputs of the training examples, prepared by `reader.read`.
    seed
        Of transformers with random numbers.

    Raises
    ------
    RecipeError
        At `backbone`, if a parameter is wrong or a transformer can't be fitted on these inputs.
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
    """Raise `RecipeError` at `backbone` if a step has a parameter that its transformer doesn't accept."""
    for step in steps:
        if step.name == COLUMNS:
            _one_hot_parameters(step)
        elif step.name != PIXELS:
            _made(step, seed=0)


def category_bounds(step: Step) -> tuple[int, int]:
    """The maximum number of categories per column, and the minimum number of rows of a category."""
    most, rarest = (
        step.parameters.get("max_categories"),
        step.parameters.get("min_frequency", RAREST_CATEGORY),
    )
    # A minimum share of the rows is applied by scikit-learn.
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


# A column that is empty in all rows has no median: it is kept, as zeros, so that columns keep their indices.
_MEDIAN = Step("SimpleImputer", {"strategy": "median", "keep_empty_features": True})


def _usual_parameters(name: str, examples: int, is_last: bool) -> dict[str, Any]:
    """Our defaults for vectorizers: pairs of words, and a limit where scikit-learn has none."""
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
    """Preprocessing of a table: numbers are imputed with the median and standardized; categories are one-hot
    encoded, with one column for rare and unknown ones."""
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
    """Create scikit-learn's estimator, with `seed` for its `random_state` by default."""
    known = getattr(import_module(f"sklearn.{TRANSFORMERS[step.name]}"), step.name)
    names = known._get_param_names()
    for word in step.parameters:
        if word not in names:
            nearest = did_you_mean(word, names) or f" (it takes {', '.join(names)})"
            raise refusal(f'{step.name} has no parameter "{word}"{nearest}')
    if step.parameters.get("input", "content") != "content":
        raise refusal(f"{step.name} receives the texts themselves. Fix: remove input")
    seeded = {"random_state": seed} if "random_state" in names else {}
    return known(**{**seeded, **step.parameters})


def _check_numeric(columns: Columns, name: str) -> None:
    if texts := columns.named(numeric=False):
        raise DataError(
            f"sklearn:{name} takes numbers, but these columns hold texts: {listed(texts)}; "
            f"leave them out (columns: {{input: […]}}), or use sklearn:{COLUMNS}"
        )

"""Checks of data without a training: reading, labels, split, limits, decoding of every image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from msgspec import structs

from transfer_core import backbones
from transfer_core.data import MODALITIES, DataSplits, Row, emit_data_warnings, left_over, read_splits
from transfer_core.data.bad_input import left_out
from transfer_core.plan.plan import complete
from transfer_core.recipe.schema import Recipe
from transfer_core.runtime.bad_input_report import listed_in_full
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.progress import Event, Progress
from transfer_core.runtime.temp_dir import spool_folder
from transfer_core.tasks import choose_task

# Bad inputs that a report names one by one.
_MOST_NAMED = 1000
_LEFT_OUT = "left out "


@dataclass(frozen=True)
class DataReport:
    """Result of a check.

    `problems` prevent a training, `warnings` don't. `labels` are the numbers of usable inputs by label (empty
    for a regression), `sizes` those of `train`, `valid` and `test`. `task` is None if the data can't be read.
    """

    modality: str
    problems: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    task: str | None = None
    labels: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether a training would accept the data."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain data, with `ok`."""
        return {"ok": self.ok, **asdict(self)}


def check_data(
    recipe: Recipe, streams: Mapping[str, Iterable[Row]], progress: Progress = Progress()
) -> DataReport:
    """Read and check the data of `recipe` as a training does, and decode every image.

    Parameters
    ----------
    recipe
        The recipe.
    streams
        Name to the rows of each stream of the recipe.
    progress
        Progress events and cancellation.

    Raises
    ------
    RecipeError
        If the recipe is invalid.
    """
    known = backbones.facts(recipe.backbone, recipe.trust)
    completed = complete(recipe, known)
    progress.stage("choose", "check the data")
    listening, warnings = _listening(progress)
    try:
        splits = _read(completed, streams, known.modality, listening)
    except DataError as error:
        return DataReport(known.modality, (str(error),), tuple(warnings))
    raises = recipe.on_bad_input == "raise"
    problems = _problems(splits) if raises else ()
    kept = [message for message in warnings if not (raises and message.startswith(_LEFT_OUT))]
    sizes = {part: len(getattr(splits, part)) for part in ("train", "valid", "test")}
    return DataReport(known.modality, problems, tuple(kept), splits.task.name, _labels(splits), sizes)


def _read(
    recipe: Recipe, streams: Mapping[str, Iterable[Row]], modality: str, progress: Progress
) -> DataSplits:
    skipping = structs.replace(recipe, on_bad_input="skip")
    kind, strict = MODALITIES[modality], recipe.on_bad_input
    with spool_folder() as spool:
        splits = read_splits(skipping, kind, choose_task, streams, spool, progress, labels_checked=strict)
        parts = (splits.train, splits.valid, splits.test)
        inputs = [input for part in parts for input in part.inputs]
        bad = {inputs[row]: why for row, why in splits.modality.undecodable(inputs, progress).items()}
        if bad:
            progress.warning(left_out(bad))
            splits = left_over(splits, bad)
        emit_data_warnings(splits, recipe, progress)
        return splits


def _problems(splits: DataSplits) -> tuple[str, ...]:
    more = len(splits.skipped) - _MOST_NAMED
    rest = (f"{more} more can't be used: {listed_in_full(splits.skipped)}",) if more > 0 else ()
    return splits.skipped[:_MOST_NAMED] + rest


def _labels(splits: DataSplits) -> dict[str, int]:
    parts = (splits.train, splits.valid, splits.test)
    counts = np.sum([splits.task.counts(part.targets, splits.labels) for part in parts], axis=0)
    return dict(zip(splits.labels, counts.tolist(), strict=True)) if splits.task.categorical else {}


def _listening(progress: Progress) -> tuple[Progress, list[str]]:
    """A progress that collects warnings in a list instead of emitting them."""
    warnings: list[str] = []

    def emit(event: Event) -> None:
        if event["event"] != "warning":
            progress.emit(event)
        elif event["message"] not in warnings:
            warnings.append(event["message"])

    return replace(progress, emit=emit), warnings

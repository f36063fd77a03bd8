"""Evaluate a trained model on labelled data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from transfer_core.data import Dataset, Row, naming_all, read_labelled
from transfer_core.data.row_streams import name_streams
from transfer_core.metrics.baseline_warnings import baseline_warnings
from transfer_core.metrics.groups import group_warnings
from transfer_core.model_file.format import ModelHeader
from transfer_core.recipe.parser import parse_recipe
from transfer_core.runtime.progress import Progress
from transfer_core.runtime.temp_dir import spool_folder

if TYPE_CHECKING:
    from transfer_core.model.model import Model


def evaluate(
    model: Model,
    data: Any,
    columns: Mapping[str, Any] | None,
    on_bad_input: str,
    streams: Mapping[str, Iterable[Row]],
    progress: Progress,
) -> dict[str, Any]:
    """See `Model.evaluate`."""
    with labelled_data(model, data, columns, on_bad_input, streams, progress) as dataset:
        progress.stage("evaluate", f"measure on {len(dataset)} {model.modality.many}")
        with naming_all([dataset], model.modality, progress):
            measured: dict[str, Any] = model.predictor.evaluate(dataset, on_bad_input, progress)
    warn_about(model, measured, progress)
    return measured


def warn_about(model: Model, measured: Mapping[str, Any], progress: Progress) -> None:
    """Report what the metrics give reason to distrust."""
    for warning in (*baseline_warnings(measured), *group_warnings(measured, model.modality.many)):
        progress.warning(warning)


@contextmanager
def labelled_data(
    model: Model,
    data: Any,
    columns: Mapping[str, Any] | None,
    on_bad_input: str,
    streams: Mapping[str, Iterable[Row]],
    progress: Progress,
) -> Iterator[Dataset]:
    """Read data with the labels of a model (see `Model.evaluate`); spooled inputs are removed at the end."""
    source, rows = name_streams(data)
    words = {"data": source, "backbone": model.header.backbone.name, "on_bad_input": on_bad_input}
    recipe = parse_recipe({**words, "columns": columns_for(model.header, columns)})
    with spool_folder() as spool:
        yield read_labelled(
            recipe.data,
            model.modality,
            model.labels,
            model.task,
            recipe.columns,
            recipe.on_bad_input,
            rows or streams,
            spool,
            progress,
            model.recipe.languages,
        )


def columns_for(header: ModelHeader, given: Any) -> Any:
    """The columns to evaluate on: those of the training, unless others are given."""
    columns = given or header.recipe.get("columns") or {}
    if isinstance(columns, Mapping) and header.columns and not columns.get("input"):
        return {**columns, "input": list(header.columns)}
    return columns

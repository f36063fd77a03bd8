"""Examples that a report shows: mistakes with explanations, cells of the confusion matrix, unknown inputs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from itertools import islice, zip_longest
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from transfer_core.data import Dataset
from transfer_core.data.bad_input import escaped, printable
from transfer_core.data.boxes import Boxes
from transfer_core.data.decode import decode_sized
from transfer_core.heads.novelty import UNKNOWN
from transfer_core.report import Example, Examples, Scores
from transfer_core.report.numbers import number, shortened
from transfer_core.report.thumbnails import ICON, PICTURE, THUMBNAIL, jpeg, thumbnail
from transfer_core.runtime.errors import DataError
from transfer_core.tasks.criteria import CLASSES, LABELS, Array

if TYPE_CHECKING:
    from transfer_core.explain.explanation import Explanation
    from transfer_core.model.model import Model
    from transfer_core.model.pooled_predictor import Embeddings, PooledPredictor

Floats = npt.NDArray[np.float64]

# Shown mistakes, unknown inputs, and examples of a cell of the confusion matrix.
MOST_EXAMPLES, _MOST_UNKNOWN, _MOST_OF_CELL = 30, 12, 12
# Classes of a shown confusion matrix; images whose boxes are drawn; parts of an explanation.
_MOST_CLASSES, _MOST_DRAWN, _MOST_PARTS = 40, 10, 8
_TRUE_BOX, _PREDICTED_BOX = (26, 127, 55), (179, 89, 0)


class Detail(NamedTuple):
    """Number of explained mistakes, and of pictures in the confusion matrix."""

    explained: int
    pictures: int


def examples_of(model: Model, dataset: Dataset, embeddings: Embeddings, detail: Detail) -> Examples:
    """The examples to show of N measured ones, with their embeddings (N, D)."""
    predictor = cast("PooledPredictor", model.predictor)
    values, layout = predictor.values(embeddings), model.task.criterion.layout  # type: ignore[attr-defined]
    if layout == CLASSES:
        found = _of_classes(model, dataset, values, detail)
    elif layout == LABELS:
        described = predictor.described(values, embeddings, None)
        found = _of_labels(model, dataset, values, [one["labels"] for one in described], detail)
    else:
        found = _of_values(model, dataset, values, detail)
    if model.novelty is None:
        return found
    novelty = np.asarray(model.novelty(embeddings))
    rows = np.flatnonzero(novelty >= UNKNOWN)
    shown = _first(dataset, rows[np.argsort(-novelty[rows], kind="stable")], _MOST_UNKNOWN)
    texts = [[f"Novelty: {number(float(novelty[row]))}"] for row in shown]
    return replace(found, unknown=_shown(model, dataset, shown, texts), flagged=len(rows))


def _of_classes(model: Model, dataset: Dataset, values: Floats, detail: Detail) -> Examples:
    """The wrong predictions of the highest probability; `values` are probabilities (N, C)."""
    chosen, highest, labels = values.argmax(1), values.max(1), model.labels
    targets = np.asarray(dataset.targets)
    right = chosen == targets
    wrong = np.flatnonzero(~right)
    rows = _first(dataset, wrong[np.argsort(-highest[wrong], kind="stable")], MOST_EXAMPLES)
    texts = [
        _lines(labels[targets[row]], f"{labels[chosen[row]]} ({number(float(highest[row]))})") for row in rows
    ]
    why = [(labels[chosen[row]], labels[targets[row]]) for row in rows[: detail.explained]]
    cells = {}
    if len(labels) <= _MOST_CLASSES:
        order = np.argsort(np.where(right, highest, -highest), kind="stable")
        cells = _cells(targets, chosen, _first(dataset, order, len(order)), detail.pictures)
    paths = {row: dataset.inputs[row] for of_cell in cells.values() for row in of_cell}
    images = model.modality.name == "image"
    truth = targets[:, None] == np.arange(len(labels))
    return Examples(
        _explained(model, dataset, rows, _shown(model, dataset, rows, texts), why),
        len(wrong),
        len(dataset),
        list(zip(highest.tolist(), right.tolist(), strict=True)),
        cells={
            cell: [
                Example(
                    _named(model, paths[row]),
                    [f"Probability: {number(float(highest[row]))}"],
                    thumbnail(paths[row], PICTURE) if images else None,
                )
                for row in of_cell
            ]
            for cell, of_cell in cells.items()
        },
        icons={
            cell: icon
            for cell, of_cell in cells.items()
            if images and (icon := thumbnail(paths[of_cell[0]], ICON))
        },
        scores=Scores(values, truth, dataset.subgroups),
    )


def _first(dataset: Dataset, rows: Array, most: int) -> list[int]:
    """The first rows whose inputs are known: examples that a model stored are named by their digest."""
    known = (row for row in rows.tolist() if dataset.inputs[row] != dataset.digests[row])
    return list(islice(known, most))


def _cells(targets: Array, chosen: Array, rows: list[int], most: int) -> dict[tuple[int, int], list[int]]:
    """Rows to show of each cell, in this order, wrong predictions first, at most `most` in all.

    Each cell gets one row before any gets a second one.
    """
    by_cell: dict[tuple[int, int], list[int]] = defaultdict(list)
    for row in rows:
        by_cell[int(targets[row]), int(chosen[row])].append(row)
    order = sorted(by_cell, key=lambda cell: (cell[0] == cell[1], -len(by_cell[cell]), cell))
    columns = ([(cell, row) for row in by_cell[cell][:_MOST_OF_CELL]] for cell in order)
    pairs = [pair for turn in zip_longest(*columns) for pair in turn if pair is not None]
    found: dict[tuple[int, int], list[int]] = defaultdict(list)
    for cell, row in pairs[:most]:
        found[cell].append(row)
    return dict(found)


def _of_labels(
    model: Model, dataset: Dataset, values: Floats, predicted: Sequence[Sequence[str]], detail: Detail
) -> Examples:
    """The predictions with the most wrong labels; `values` are probabilities (N, K)."""
    truth = np.asarray(dataset.targets, bool)
    labels = [[model.labels[k] for k in np.flatnonzero(row)] for row in truth]
    wrong = [sorted(set(true) ^ set(found)) for true, found in zip(labels, predicted, strict=True)]
    error = np.abs(values - truth).mean(1)
    rows = [row for row in np.lexsort((-error, [-len(one) for one in wrong])).tolist() if wrong[row]]
    shown = _first(dataset, np.array(rows, int), MOST_EXAMPLES)
    texts = [_lines(", ".join(labels[row]) or "none", ", ".join(predicted[row]) or "none") for row in shown]
    why = [(wrong[row][0], None) for row in shown[: detail.explained]]
    examples = _explained(model, dataset, shown, _shown(model, dataset, shown, texts), why)
    return Examples(examples, len(rows), len(dataset), scores=Scores(values, truth, dataset.subgroups))


def _of_values(model: Model, dataset: Dataset, values: Floats, detail: Detail) -> Examples:
    """The predictions of the largest error, in standard deviations of their output; `values` (N, K)."""
    truth = np.asarray(dataset.targets, np.float64).reshape(values.shape)
    deviation = truth.std(0)
    errors = np.abs(values - truth) / np.where(deviation > 0, deviation, 1)
    rows = _first(dataset, np.argsort(-errors.max(1), kind="stable"), MOST_EXAMPLES)
    texts = [_lines(_numbers(model, truth[row]), _numbers(model, values[row])) for row in rows]
    why = [(model.labels[int(errors[row].argmax())], None) for row in rows[: detail.explained]]
    residuals: list[tuple[float, float]] = []
    if values.shape[1] == 1:
        residuals = list(zip(values[:, 0].tolist(), (values - truth)[:, 0].tolist(), strict=True))
    examples = _explained(model, dataset, rows, _shown(model, dataset, rows, texts), why)
    return Examples(examples, None, len(dataset), residuals=residuals)


def _numbers(model: Model, row: Floats) -> str:
    if len(row) == 1:
        return number(float(row[0]))
    return ", ".join(f"{name} {number(float(one))}" for name, one in zip(model.labels, row, strict=True))


def _lines(truth: str, prediction: str) -> list[str]:
    return [f"Truth: {truth}", f"Prediction: {prediction}"]


def _shown(
    model: Model, dataset: Dataset, rows: Sequence[int], lines: Sequence[Sequence[str]]
) -> list[Example]:
    images = model.modality.name == "image"
    inputs = [dataset.inputs[row] for row in rows]
    return [
        Example(_named(model, input), own, thumbnail(input, THUMBNAIL) if images else None)
        for input, own in zip(inputs, lines, strict=True)
    ]


def _explained(
    model: Model,
    dataset: Dataset,
    rows: Sequence[int],
    shown: list[Example],
    why: Sequence[tuple[str, str | None]],
) -> list[Example]:
    """Add explanations to the first examples: of a label, against another one."""
    found = []
    for row, example, (label, against) in zip(rows, shown, why, strict=False):
        with suppress(DataError):
            explanation = model.explain(_as_given(model, dataset.inputs[row]), label, against)
            example = replace(
                example, overlay=_overlay(explanation), contributions=_contributions(explanation)
            )
        found.append(example)
    return found + shown[len(found) :]


def _as_given(model: Model, input: Any) -> Any:
    """An input as `Model.explain` takes it."""
    return dict(zip(model.header.columns, input, strict=True)) if model.modality.name == "table" else input


def _overlay(explanation: Explanation) -> bytes | None:
    png = explanation.overlay
    return None if png is None else jpeg(Image.open(BytesIO(png)), THUMBNAIL)


def _contributions(explanation: Explanation) -> list[tuple[str, float]]:
    parts = list((explanation.columns or {}).items()) or list(explanation.tokens or ())
    largest = sorted(parts, key=lambda part: -abs(part[1]))[:_MOST_PARTS]
    return [(shortened(printable(name), 60), score) for name, score in largest]


def _named(model: Model, input: Any) -> str:
    modality = model.modality.name
    name = name_of(input, modality, model.header.columns)
    return escaped(name) if modality == "image" else shortened(printable(name))


def name_of(input: Any, modality: str, columns: Sequence[str]) -> str:
    """The end of a path, a text, or the cells of a row with their columns; not escaped."""
    if modality == "image":
        return "/".join(PurePath(input).parts[-2:])
    cells = (input,) if isinstance(input, str) else input
    if columns:
        cells = [f"{name}: {cell}" for name, cell in zip(columns, cells, strict=True)]
    return ", ".join(map(str, cells))


def drawn_worst(model: Model, dataset: Dataset, metrics: Mapping[str, Any]) -> Examples:
    """Thumbnails of a detector's worst images by the end of their path, with true and predicted boxes.

    Of equal ends the shortest path is meant.
    """
    by_length = sorted(range(len(dataset)), key=lambda row: len(str(dataset.inputs[row])))
    found = {}
    for name in [one["image"] for one in metrics.get("worst", ()) if "image" in one][:_MOST_DRAWN]:
        row = next((row for row in by_length if f"/{dataset.inputs[row]}".endswith(f"/{name}")), None)
        if row is not None and (image := _with_boxes(model, dataset.inputs[row], dataset.targets[row])):
            found[name] = image
    return Examples(thumbnails=found)


def _with_boxes(model: Model, path: str, truth: Boxes) -> bytes | None:
    try:
        image, (width, _) = decode_sized(path, at_least=2 * THUMBNAIL)
        predicted = model.predict(path)["boxes"]
    except DataError:
        return None
    image.thumbnail((2 * THUMBNAIL, 2 * THUMBNAIL))
    scale, draw = image.width / width, ImageDraw.Draw(image)
    for corners in truth.corners * scale:
        draw.rectangle(corners.tolist(), outline=_TRUE_BOX, width=3)
    for box in predicted:
        left, top = box["x"], box["y"]
        corners = np.array([left, top, left + box["width"], top + box["height"]]) * scale
        draw.rectangle(corners.tolist(), outline=_PREDICTED_BOX, width=2)
    return jpeg(image, 2 * THUMBNAIL)

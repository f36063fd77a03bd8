"""Write a report on a trained model, with predictions for labelled data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from transfer_core.data import Dataset, Row, naming_all
from transfer_core.data.bad_input import escaped, printable
from transfer_core.data.decode import decode_image
from transfer_core.model.evaluation import labelled_data, warn_about
from transfer_core.model.restore import use_of
from transfer_core.report import Example, Examples, build_report, render_card, render_page
from transfer_core.report.numbers import number
from transfer_core.runtime.atomic import replacing, unfollowed
from transfer_core.runtime.errors import ConfigurationError, DataError
from transfer_core.runtime.progress import Progress
from transfer_core.tasks.criteria import CLASSES, LABELS

if TYPE_CHECKING:
    from transfer_core.model.model import Model
    from transfer_core.model.pooled_predictor import PooledPredictor

Floats = npt.NDArray[np.float64]

# Shown mistakes, and pixels of the longer side of their thumbnails: some 10 kB each.
MOST_EXAMPLES = 30
_THUMBNAIL = 192


def write_report(
    model: Model,
    target: Path,
    data: Any,
    columns: Mapping[str, Any] | None,
    on_bad_input: str,
    mode: int | None,
    streams: Mapping[str, Iterable[Row]],
    progress: Progress,
) -> Path:
    """See `Model.report`."""
    renderers = {".html": render_page, ".md": render_card}
    if target.suffix.lower() not in renderers:
        raise ConfigurationError(
            f"can't write a report to {printable(str(target))}. Fix: end the name with .html (a page) or .md "
            "(a model card)"
        )
    metrics, examples = None, None
    if data is not None:
        with labelled_data(model, data, columns, on_bad_input, streams, progress) as dataset:
            progress.stage("evaluate", f"measure on {len(dataset)} {model.modality.many}")
            with naming_all([dataset], model.modality, progress):
                metrics, examples = _measured(model, dataset, on_bad_input, progress)
        warn_about(model, metrics, progress)
    # Metrics in a file may have any form.
    with use_of(model.path):
        text = renderers[target.suffix.lower()](build_report(model.summary(), metrics, examples))
    with (
        replacing(target, mode) as temporary,
        open(temporary, "w", encoding="utf-8", errors="replace", opener=unfollowed) as file,
    ):
        file.write(text)
    return target


def _measured(
    model: Model, dataset: Dataset, on_bad_input: str, progress: Progress
) -> tuple[dict[str, Any], Examples]:
    """Metrics, and the examples to show."""
    if model.task.needs != "pooled":
        metrics = model.predictor.evaluate(dataset, on_bad_input, progress)
        names = [one["image"] for one in metrics.get("worst", ()) if "image" in one]
        return metrics, Examples(thumbnails=_thumbnails(names, dataset.inputs))
    predictor = cast("PooledPredictor", model.predictor)
    embeddings, dataset = predictor.embed_readable(dataset, on_bad_input, progress)
    values, layout = predictor.values(embeddings), model.task.criterion.layout  # type: ignore[attr-defined]
    metrics = predictor.score(embeddings, dataset)
    if layout == CLASSES:
        return metrics, _of_classes(model, dataset, values)
    if layout == LABELS:
        described = predictor.described(values, embeddings, None)
        return metrics, _of_labels(model, dataset, values, [one["labels"] for one in described])
    return metrics, _of_values(model, dataset, values)


def _of_classes(model: Model, dataset: Dataset, values: Floats) -> Examples:
    """The wrong predictions of the highest probability; `values` are probabilities (N, C)."""
    chosen, highest = values.argmax(1), values.max(1)
    right = chosen == dataset.targets
    wrong = np.flatnonzero(~right)
    rows = wrong[np.argsort(-highest[wrong], kind="stable")][:MOST_EXAMPLES].tolist()
    texts = [
        (model.labels[dataset.targets[row]], f"{model.labels[chosen[row]]} ({number(float(highest[row]))})")
        for row in rows
    ]
    certainty = list(zip(highest.tolist(), right.tolist(), strict=True))
    return Examples(_shown(model, dataset, rows, texts), len(wrong), len(dataset), certainty)


def _of_labels(
    model: Model, dataset: Dataset, values: Floats, predicted: Sequence[Sequence[str]]
) -> Examples:
    """The predictions with the most wrong labels; `values` are probabilities (N, K)."""
    truth = np.asarray(dataset.targets, bool)
    labels = [[model.labels[k] for k in np.flatnonzero(row)] for row in truth]
    wrong = [len(set(true) ^ set(found)) for true, found in zip(labels, predicted, strict=True)]
    error = np.abs(values - truth).mean(1)
    rows = [
        row for row in sorted(range(len(wrong)), key=lambda row: (-wrong[row], -error[row])) if wrong[row]
    ]
    shown = rows[:MOST_EXAMPLES]
    texts = [(", ".join(labels[row]) or "none", ", ".join(predicted[row]) or "none") for row in shown]
    return Examples(_shown(model, dataset, shown, texts), len(rows), len(dataset))


def _of_values(model: Model, dataset: Dataset, values: Floats) -> Examples:
    """The predictions of the largest error, in standard deviations of their output; `values` (N, K)."""
    truth = np.asarray(dataset.targets, np.float64).reshape(values.shape)
    deviation = truth.std(0)
    error = (np.abs(values - truth) / np.where(deviation > 0, deviation, 1)).max(1)
    rows = np.argsort(-error, kind="stable")[:MOST_EXAMPLES].tolist()
    texts = [(_numbers(model, truth[row]), _numbers(model, values[row])) for row in rows]
    residuals: list[tuple[float, float]] = []
    if values.shape[1] == 1:
        residuals = list(zip(values[:, 0].tolist(), (values - truth)[:, 0].tolist(), strict=True))
    return Examples(_shown(model, dataset, rows, texts), None, len(dataset), residuals=residuals)


def _numbers(model: Model, row: Floats) -> str:
    if len(row) == 1:
        return number(float(row[0]))
    return ", ".join(f"{name} {number(float(one))}" for name, one in zip(model.labels, row, strict=True))


def _shown(
    model: Model, dataset: Dataset, rows: Sequence[int], texts: Sequence[tuple[str, str]]
) -> list[Example]:
    images = model.modality.name == "image"
    return [
        Example(
            _named(model, dataset.inputs[row]),
            [f"Truth: {truth}", f"Prediction: {prediction}"],
            thumbnail(dataset.inputs[row]) if images else None,
        )
        for row, (truth, prediction) in zip(rows, texts, strict=True)
    ]


def _named(model: Model, input: Any) -> str:
    """The end of a path, a text, or the cells of a row."""
    if model.modality.name == "image":
        return escaped("/".join(PurePath(input).parts[-2:]))
    cells = (input,) if isinstance(input, str) else input
    if names := model.header.columns:
        cells = [f"{name}: {cell}" for name, cell in zip(names, cells, strict=True)]
    return printable(", ".join(map(str, cells)))


def _thumbnails(names: Sequence[str], paths: Sequence[str]) -> dict[str, bytes]:
    """Thumbnails of images by the end of their path; of equal ends the shortest path is meant."""
    by_length = sorted(paths, key=len)
    found = {}
    for name in names:
        path = next((path for path in by_length if f"/{path}".endswith(f"/{name}")), None)
        if path and (image := thumbnail(path)):
            found[name] = image
    return found


def thumbnail(path: str) -> bytes | None:
    """A small JPEG of an image; None if it can't be read any more."""
    try:
        image = decode_image(path, at_least=_THUMBNAIL)
    except DataError:
        return None
    image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    file = BytesIO()
    image.save(file, "JPEG", quality=80)
    return file.getvalue()

"""Export a model to ONNX, and compare the file with the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from transfer_core.data import Dataset, Row
from transfer_core.export.comparison import compare
from transfer_core.export.file import check_target, serialized, write
from transfer_core.export.graph_of_model import Parts, converted, graph_of_model, network_of
from transfer_core.export.loader_scripts import check_loader, write_loader
from transfer_core.export.precisions import PRECISIONS, halved
from transfer_core.export.probes import probe_images, probe_texts
from transfer_core.export.quantization import quantized
from transfer_core.export.session import ExportedSession, onnx_runtime, probe_inputs
from transfer_core.model.evaluation import labelled_data
from transfer_core.recipe.messages import shown
from transfer_core.runtime.errors import ConfigurationError, did_you_mean
from transfer_core.runtime.progress import Progress

if TYPE_CHECKING:
    from transfer_core.model.model import Model

Array: TypeAlias = npt.NDArray[Any]

# Examples that ranges of activations are measured on, that predictions are compared on, and of each at least.
_CALIBRATED, _COMPARED, _FEWEST = 200, 500, 10
# Precisions that may lose accuracy, and the next better ones.
_MORE_PRECISE = {"int8": "float16", "float16": "float32"}
# The metric of each task that may not fall by more than the tolerance.
_METRICS = {"classification": "accuracy", "multi_label": "micro_f1", "regression": "r2"}


@dataclass(frozen=True)
class ExportReport:
    """Report of an export.

    Parameters
    ----------
    path, bytes, precision
        The file.
    error
        Largest difference from the model's embeddings on made-up inputs, as a share of their largest number;
        of scores and boxes, as shares of the input's side, for object detection.
    metric, before, after, examples
        A metric of the model and of the file on so many labelled examples; None and 0 without data.
    loader
        The script that was written beside it.
    """

    path: Path
    bytes: int
    precision: str
    error: float
    metric: str | None = None
    before: float | None = None
    after: float | None = None
    examples: int = 0
    loader: Path | None = None


class Data(NamedTuple):
    """Labelled data of the caller: `calibration` to quantize on, `evaluation` to measure on, their `columns`,
    and rows by name for `{"stream": name}`."""

    calibration: Any = None
    evaluation: Any = None
    columns: Mapping[str, Any] | None = None
    streams: Mapping[str, Iterable[Row]] = {}


def export_model(
    model: Model,
    path: Path,
    precision: str,
    data: Data,
    tolerance: float,
    loader: str | None,
    mode: int | None,
    progress: Progress,
) -> ExportReport:
    """See `Model.export`."""
    _check(precision, data, tolerance)
    check_target(path)
    onnx_runtime()
    head: Mapping[str, Array] = {}
    if model.task.needs == "pooled":
        head = {name: np.asarray(array) for name, array in model.head.state_dict().items()}
    novelty = model.novelty.state_dict() if model.novelty else {}
    backbone = model.backbone.module()
    parts = Parts(model.header, model.recipe, model.state, backbone, head, model.digest, novelty)
    check_loader(loader, path, parts)
    progress.stage("evaluate", "convert the model to ONNX")
    content, report = _EXPORTS[model.task.needs](model, parts, path, precision, data, tolerance, progress)
    write(path, content, mode)
    return replace(report, loader=write_loader(loader, path, parts, mode) if loader else None)


def _pooled(
    model: Model,
    parts: Parts,
    path: Path,
    precision: str,
    data: Data,
    tolerance: float,
    progress: Progress,
) -> tuple[bytes, ExportReport]:
    network = network_of(parts)
    if network is None and precision != "float32":
        raise ConfigurationError(
            f"{model.header.backbone.name} has no network to store in {precision}. Fix: export in float32"
        )
    with _datasets(model, data, precision, progress) as (calibrating, measuring):
        if precision == "float16":
            network = halved(network)
        elif calibrating:
            progress.stage("evaluate", f"quantize on {len(calibrating)} {model.modality.many}")
            network = quantized(network, parts, calibrating.inputs, progress)
        content = serialized(graph_of_model(parts, network), parts, precision)
        session = ExportedSession(content, parts)
        error = compare(parts, session, probe_inputs(parts), precision, partial(_predicted, model))
        report = ExportReport(path, len(content), precision, error)
        if measuring:
            report = _measured(model, session, measuring, report, tolerance, progress)
    return content, report


def _detector(
    model: Model,
    parts: Parts,
    path: Path,
    precision: str,
    data: Data,
    tolerance: float,
    progress: Progress,
) -> tuple[bytes, ExportReport]:
    from transfer_core.export.detection import compare_candidates, detection_graph, detection_network
    from transfer_core.heads.detection.detector import Detector

    _check_plain(model, precision, data)
    assert isinstance(model.head, Detector)
    network = converted(partial(detection_network, parts.backbone, model.head))
    network = halved(network) if precision == "float16" else network
    error = compare_candidates(parts.backbone, model.head, network, probe_images())
    _check_error(model, precision, error, "boxes")
    content = serialized(detection_graph(parts, network), parts, precision)
    return content, ExportReport(path, len(content), precision, error)


def _generator(
    model: Model,
    parts: Parts,
    path: Path,
    precision: str,
    data: Data,
    tolerance: float,
    progress: Progress,
) -> tuple[bytes, ExportReport]:
    from transfer_core.export.sequences import (
        Networks,
        compare_texts,
        encoder_network,
        sequence_graph,
        step_network,
        text_entries,
    )
    from transfer_core.model.text_predictor import TextPredictor

    _check_plain(model, precision, data)
    assert isinstance(model.predictor, TextPredictor)
    generator = model.predictor.generator
    if (beams := model.recipe.generation.beams) > 1:
        raise ConfigurationError(
            f"a beam search (generation beams: {beams}) can't be exported, greedy decoding can. "
            "Fix: train with generation beams: 1"
        )
    longest = max(generator.longest, generator.limits.of(generator.longest)) + 1
    networks = [
        converted(partial(convert, generator.network, longest)) for convert in (encoder_network, step_network)
    ]
    if precision == "float16":
        networks = [halved(network) for network in networks]
    graph = sequence_graph(Networks(*networks), generator.network.shape, generator.rules, generator.limits)
    content = serialized(graph, parts, precision, *text_entries(generator))
    error = compare_texts(content, generator, probe_texts(paired=False))
    _check_error(model, precision, error, "scores")
    return content, ExportReport(path, len(content), precision, error)


_EXPORTS = {"pooled": _pooled, "feature_maps": _detector, "encoder_decoder": _generator}

# Largest difference of boxes and scores.
_DIFFERENCE = {"float32": 1e-3, "float16": 0.05}


def _check_plain(model: Model, precision: str, data: Data) -> None:
    """Raise `ConfigurationError` for options that only models with embeddings have."""
    task = model.header.task
    if precision == "int8":
        raise ConfigurationError(f"models of the task {task} can't be exported in int8. Fix: use float16")
    if data.calibration is not None or data.evaluation is not None:
        raise ConfigurationError(
            f"exported models of the task {task} are not measured on data. "
            "Fix: leave out calibration and evaluation"
        )


def _check_error(model: Model, precision: str, error: float, many: str) -> None:
    if error > _DIFFERENCE[precision]:
        raise ConfigurationError(
            f"{model.header.backbone.name} can't be exported in {precision}: its {many} in ONNX Runtime "
            f"differ by {error:.2g}. Try: precision float32, or another version of onnxruntime"
        )


def _check(precision: str, data: Data, tolerance: float) -> None:
    if precision not in PRECISIONS:
        nearest = did_you_mean(precision, PRECISIONS)
        raise ConfigurationError(
            f"unknown precision {shown(precision)}{nearest} (one of: {', '.join(PRECISIONS)})"
        )
    if precision == "int8" and data.calibration is None:
        raise ConfigurationError(
            "int8 needs examples to measure the ranges of activations on. "
            'Fix: pass the training data, or some of it, as calibration: "photos/"'
        )
    if not 0 <= tolerance <= 1:
        raise ConfigurationError(f"tolerance: expected a share of the metric from 0 to 1 (got {tolerance:g})")


@contextmanager
def _datasets(
    model: Model, data: Data, precision: str, progress: Progress
) -> Iterator[tuple[Dataset | None, Dataset | None]]:
    """The examples to quantize on and to measure on: without an evaluation set, others of the calibration."""
    with ExitStack() as stack:

        def read(source: Any) -> Dataset:
            found = labelled_data(model, source, data.columns, "raise", data.streams, progress)
            dataset = stack.enter_context(found)
            return dataset.take(np.random.default_rng(0).permutation(len(dataset)))

        calibrating = read(data.calibration) if precision == "int8" else None
        measuring = read(data.evaluation) if data.evaluation is not None else None
        if calibrating and not measuring:
            half = len(calibrating) // 2
            if half < _FEWEST:
                raise ConfigurationError(
                    f"calibration has {len(calibrating)} examples, expected at least {2 * _FEWEST}: half of "
                    "them are compared with the model. Fix: pass more, or an evaluation set"
                )
            measuring = calibrating.take(range(half, len(calibrating)))
            calibrating = calibrating.take(range(half))
        yield (
            calibrating and calibrating.take(range(min(len(calibrating), _CALIBRATED))),
            measuring and measuring.take(range(min(len(measuring), _COMPARED))),
        )


def _measured(
    model: Model,
    session: ExportedSession,
    dataset: Dataset,
    report: ExportReport,
    tolerance: float,
    progress: Progress,
) -> ExportReport:
    """Add the metric before and after.

    Raises
    ------
    ConfigurationError
        If more than the tolerance is lost.
    """
    metric, many = _METRICS[model.header.task], model.modality.many
    progress.stage("evaluate", f"measure {metric} on {len(dataset)} {many}")
    before = model.predictor.evaluate(dataset, "raise", progress)[metric]
    inputs = progress.track(dataset.inputs, "evaluate", len(dataset), many)
    embeddings = np.concatenate([session.run(input)["embedding"] for input in inputs])
    predictor: Any = model.predictor
    after = predictor.score(embeddings, dataset)[metric]
    better = _MORE_PRECISE.get(report.precision)
    if better and before - after > tolerance:
        raise ConfigurationError(
            f"in {report.precision} {metric} falls from {before:.3f} to {after:.3f} on {len(dataset)} {many}"
            f", more than the tolerance of {tolerance:g}; nothing was written. "
            f"Fix: export in {better}, or raise the tolerance"
        )
    return replace(report, metric=metric, before=before, after=after, examples=len(dataset))


def _predicted(model: Model, embeddings: Array) -> Array:
    """Probabilities or values (N, K) in the order of the labels."""
    rows = model.predictor.predictions(embeddings, None)
    if len(model.labels) == 1 and "value" in rows[0]:
        return np.array([[row["value"]] for row in rows])
    own = "scores" if "scores" in rows[0] else "values"
    return np.array([[row[own][label] for label in model.labels] for row in rows])

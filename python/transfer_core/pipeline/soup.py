"""Soups: one model with the average weights of several runs (Wortsman et al. 2022)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from transfer_core.data import Dataset, Row
from transfer_core.heads.dense import DenseHead
from transfer_core.heads.rehearsal import Rehearsal, digest_bytes
from transfer_core.model.evaluation import labelled_data
from transfer_core.model.loading import open_model_file, save_new
from transfer_core.model.model import Model
from transfer_core.model.pooled_predictor import PooledPredictor
from transfer_core.model.restore import restore_backbone
from transfer_core.model_file.format import BACKBONE_PREFIX, tensors_digest
from transfer_core.recipe.schema import PathSource, Recipe, to_plain
from transfer_core.runs import model_date, new_run
from transfer_core.runtime.errors import ConfigurationError, DataError
from transfer_core.runtime.progress import Progress
from transfer_core.runtime.version import library_versions
from transfer_core.tasks import PooledTask, State
from transfer_core.tasks.criteria import VALUES, Array

Method = Literal["greedy", "uniform"]
# Of each half of the data.
_FEWEST = 10


@dataclass(frozen=True)
class _Judged:
    """A model, with its metric on the selecting half and its outputs (N, K) there."""

    model: Model
    metric: float
    outputs: Array


def soup(
    paths: Sequence[Path],
    recipe: Recipe,
    method: Method,
    streams: Mapping[str, Iterable[Row]],
    progress: Progress = Progress(),
) -> Model:
    """Average the weights of models that were fine-tuned from the same backbone, and save the result.

    A greedy soup begins with the best model and adds the others in their order, each kept if the metric does
    not fall; a uniform one has all. One half of the data selects and calibrates, the other is measured on.

    Parameters
    ----------
    paths
        At least two saved models of the same backbone, task, labels and head.
    recipe
        Its `data` are labelled examples that no model was trained on; `columns` and `on_bad_input` count too.
    method
        `greedy` or `uniform`.
    streams
        Rows by name, for a stream source.
    progress
        Progress events and cancellation.

    Raises
    ------
    ConfigurationError
        If the models don't fit one another.
    DataError
        If there are fewer than 20 examples, or they can't be read.
    """
    if len(paths) < 2:
        raise ConfigurationError(f"a soup needs two models or more (got {len(paths)})")
    models = [open_model_file(path, progress, recipe.trust) for path in paths]
    _check(models)
    first = models[0]
    with new_run(to_plain(recipe), library_versions()) as folder:
        with _halves(first, recipe, streams, progress) as (selecting, measuring):
            warnings = _trained_on(models, recipe, [selecting, measuring])
            for warning in warnings:
                progress.warning(warning)
            judged = [_judged(model, selecting, progress) for model in models]
            chosen, history = _select(judged, method, selecting, progress)
            task = first.task
            assert isinstance(task, PooledTask)
            state = task.calibrate(chosen.model.state, chosen.outputs, task.targets(selecting, first.state))
            mixed = _with_state(chosen.model, state)
            progress.stage("evaluate", f"evaluate on {len(measuring)} {first.modality.many}")
            metrics = mixed.predictor.evaluate(measuring, "raise", progress)
        header = msgspec.structs.replace(
            mixed.header,
            metrics=metrics,
            history=tuple(history),
            data=None,
            sizes={"valid": len(selecting), "test": len(measuring)},
            warnings=tuple(warnings),
            created_at=model_date().isoformat(timespec="seconds"),
        )
        model = save_new(folder.model, header, mixed.backbone, mixed.head, mixed.novelty)
        folder.finish()
    return model


def _trained_on(models: Sequence[Model], recipe: Recipe, parts: Sequence[Dataset]) -> list[str]:
    """A warning if examples trained a model; else, by the place of its data, for a model without examples."""
    given = digest_bytes([digest for part in parts for digest in part.digests])
    trained = [model.novelty.digests for model in models if isinstance(model.novelty, Rehearsal)]
    seen = set(map(bytes, np.concatenate([given[:0], *trained])))
    same = sum(bytes(one) in seen for one in given)
    if same:
        what = f"{same} of {len(given)} examples also trained a model"
    elif isinstance(recipe.data, PathSource) and any(
        model.header.recipe["data"] == to_plain(recipe)["data"] for model in models
    ):
        what = "a model was trained on the same data"
    else:
        return []
    return [f"{what}: the metrics are too high. Fix: give examples that no model was trained on"]


def averaged(models: Sequence[Model]) -> Model:
    """The first of `models` with the mean of all weights; others are converted to its units of values."""
    first = models[0]
    head = DenseHead(_mean([_head_like(first, model) for model in models]))
    if not any(model.header.backbone.fine_tuned for model in models):
        return replace(first, head=head)
    tensors = _mean([model.backbone.tensors() for model in models])
    source = msgspec.structs.replace(
        first.header.backbone, weights_digest=tensors_digest(tensors), fine_tuned=True, inside=True
    )
    header = msgspec.structs.replace(first.header, backbone=source)
    arrays = {f"{BACKBONE_PREFIX}{name}": array for name, array in tensors.items()}
    trust = bool(first.header.recipe.get("trust"))
    return replace(
        first,
        header=header,
        head=head,
        backbone=restore_backbone(header, arrays, Progress(), trust),
        novelty=None,  # its examples are embeddings of another network
    )


def _select(
    judged: Sequence[_Judged], method: Method, selecting: Dataset, progress: Progress
) -> tuple[_Judged, list[dict[str, Any]]]:
    """The soup, and a history entry per model: whether it is in, and the metric of the soup with it."""
    word = judged[0].model.task.main_metric  # type: ignore[attr-defined]
    order = sorted(judged, key=lambda one: -one.metric) if method == "greedy" else list(judged)
    kept, best = [order[0].model], order[0]
    history = [{"step": "soup", "model": order[0].model.path.name, "kept": True, word: order[0].metric}]
    if method == "uniform":
        best = _judged(averaged([one.model for one in order]), selecting, progress)
        return best, [
            {"step": "soup", "model": one.model.path.name, "kept": True, word: one.metric} for one in order
        ]
    for one in order[1:]:
        progress.check()
        tried = _judged(averaged([*kept, one.model]), selecting, progress)
        better = tried.metric >= best.metric
        if better:
            kept, best = [*kept, one.model], tried
        history.append({"step": "soup", "model": one.model.path.name, "kept": better, word: tried.metric})
    return best, history


def _judged(model: Model, dataset: Dataset, progress: Progress) -> _Judged:
    predictor, task = model.predictor, model.task
    assert isinstance(predictor, PooledPredictor)
    assert isinstance(task, PooledTask)
    loads = [_Load(predictor, input) for input in dataset.inputs]
    computed, bad = predictor.compute(loads)
    if bad:
        raise next(iter(bad.values()))
    progress.check()
    metrics = predictor.score(computed, dataset)
    return _Judged(model, float(metrics[task.main_metric]), model.head(computed))  # type: ignore[operator]


@dataclass(frozen=True)
class _Load:
    predictor: PooledPredictor
    input: Any

    def __call__(self) -> Any:
        return self.predictor.load(self.input)


@contextmanager
def _halves(
    model: Model, recipe: Recipe, streams: Mapping[str, Iterable[Row]], progress: Progress
) -> Iterator[tuple[Dataset, Dataset]]:
    """The data in two halves, each with the same share of every class."""
    columns = msgspec.to_builtins(recipe.columns)
    given = None if recipe.columns == type(recipe.columns)() else columns
    source = msgspec.to_builtins(recipe.data)
    with labelled_data(model, source, given, recipe.on_bad_input, streams, progress) as found:
        if len(found) < 2 * _FEWEST:
            raise DataError(f"a soup needs {2 * _FEWEST} labelled examples to select on (got {len(found)})")
        order = np.random.default_rng(recipe.seed).permutation(len(found))
        strata = np.asarray(model.task.strata(found.targets))
        if strata.ndim == 1:
            order = order[np.argsort(strata[order], kind="stable")]
        yield found.take(np.sort(order[::2])), found.take(np.sort(order[1::2]))


def _check(models: Sequence[Model]) -> None:
    first = models[0]
    if not isinstance(first.task, PooledTask):
        raise ConfigurationError(f"a model for {first.task.name} can't be averaged: its head is not dense")
    for model in models:
        _check_head(model)
        pairs = {
            "backbone": (first.header.backbone.name, model.header.backbone.name),
            "weights": (first.header.backbone.weights, model.header.backbone.weights),
            "task": (first.header.task, model.header.task),
            "labels": (first.labels, model.labels),
            "head": (_shapes(first), _shapes(model)),
        }
        for word, (ours, theirs) in pairs.items():
            if ours != theirs:
                shown = "" if word in ("head", "labels") else f": {ours} and {theirs}"
                raise ConfigurationError(
                    f"{first.path.name} and {model.path.name} have different {word}{shown}. "
                    "Fix: average models of one backbone, task and head, fine-tuned from the same weights"
                )


def _check_head(model: Model) -> None:
    if not isinstance(model.head, DenseHead):
        raise ConfigurationError(f"{model.path.name} has no dense head, and can't be averaged")


def _shapes(model: Model) -> dict[str, tuple[int, ...]]:
    return {name: np.shape(array) for name, array in model.head.state_dict().items()}


def _head_like(first: Model, model: Model) -> dict[str, Array]:
    """The tensors of the head; outputs that are values in the units of the first model."""
    assert isinstance(model.head, DenseHead)
    tensors = model.head.state_dict()
    task = model.task
    assert isinstance(task, PooledTask)
    if task.criterion.layout != VALUES or model is first:
        return tensors
    number = max(int(name.partition(".")[0]) for name in tensors)
    mean, scale = (
        np.array([getattr(one.state, word) for one in (first, model)]) for word in ("mean", "scale")
    )
    weight, bias = f"{number}.weight", f"{number}.bias"
    factor = scale[1] / scale[0]
    moved = tensors[bias] * factor + (mean[1] - mean[0]) / scale[0]
    return {
        **tensors,
        weight: (tensors[weight] * factor[:, None]).astype(np.float32),
        bias: moved.astype(np.float32),
    }


def _mean(several: Sequence[Mapping[str, Any]]) -> dict[str, Array]:
    """The mean of floating tensors in float64; others are those of the first."""

    def one(name: str) -> Array:
        arrays = [_array(tensors[name]) for tensors in several]
        if arrays[0].dtype.kind != "f":
            return arrays[0]
        total = np.zeros(arrays[0].shape)
        for array in arrays:
            total += array
        return (total / len(arrays)).astype(arrays[0].dtype)

    return {name: one(name) for name in several[0]}


def _array(tensor: Any) -> Array:
    return np.asarray(tensor.detach().cpu().numpy() if hasattr(tensor, "detach") else tensor)


def _with_state(model: Model, state: State) -> Model:
    return replace(model, header=msgspec.structs.replace(model.header, state=msgspec.to_builtins(state)))

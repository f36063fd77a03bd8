"""Methods of the worker: one small function per method over the public API."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from functools import cache, partial
from hashlib import sha512
from typing import Any, Literal, cast

from transfer_core.runtime.allocator import releasing_memory
from transfer_core.worker.calls import Call
from transfer_core.worker.compute_lock import COMPUTE_LOCK, exclusive
from transfer_core.worker.model_cache import ModelRef, models, open_model
from transfer_core.worker.server import Method
from transfer_core.worker.serving import serving
from transfer_core.worker.warning_capture import forward_warnings

# No slow imports at module level: the handshake must not wait for them.

Plain = dict[str, Any]
Inputs = list[Any]  # the type depends on the modality: msgspec can't check it
# Public keys of which one must have signed the model; None: unsigned is allowed.
Keys = list[bytes] | None
# `mark` puts `{error:}` in place of the prediction of an input that can't be read.
OnBadInput = Literal["raise", "mark"]


def import_engines() -> None:
    """Warm up: import the modules of trainings and predictions before the first call; none needs torch."""
    # The call that needs a missing or broken package reports it.
    for name in ("transfer_core.pipeline.five_steps", "transfer_core.pipeline.pooled_steps"):
        with suppress(Exception):
            importlib.import_module(name)


def ping(call: Call) -> str:
    """Health check."""
    return "pong"


def train(call: Call, recipe: Plain) -> Plain:
    """Run a recipe; the model is on disk when this returns."""
    from transfer_core.recipe.parser import parse_recipe

    parsed = parse_recipe(recipe)  # before torch is imported: errors are reported at once
    from transfer_core.pipeline.training import train as run_training

    streams = _streams(call, _sources(recipe), partial(_modality, parsed.backbone, parsed.trust))
    with _training_threads(), releasing_memory():
        return run_training(parsed, streams, call.progress).summary()


def resume(call: Call, run: str, data: Any = None, trust: bool = False) -> Plain:
    """Resume an interrupted run; the model is on disk when this returns."""
    from transfer_core.pipeline import five_steps

    streams = _streams(call, data, partial(_modality_of_run, run, trust))
    with _training_threads(), releasing_memory(), forward_warnings(call.progress.warning):
        return five_steps.resume(run, data, streams, call.progress, trust).summary()


def check(call: Call, recipe: Plain) -> Plain:
    """Check the data of a recipe without a training."""
    from transfer_core.pipeline.data_check import check_data
    from transfer_core.recipe.parser import parse_recipe

    parsed = parse_recipe(recipe)
    streams = _streams(call, _sources(recipe), partial(_modality, parsed.backbone, parsed.trust))
    return check_data(parsed, streams, call.progress).to_dict()


def rank(
    call: Call,
    recipe: Plain,
    among: list[str] | None = None,
    modality: str | None = None,
    budget: float = 60.0,
) -> Plain:
    """Rank backbones on the data of a recipe."""
    from transfer_core.pipeline.ranking import rank_backbones
    from transfer_core.recipe.parser import parse_recipe

    parsed = parse_recipe(recipe)
    of_rows = partial(_modality, among[0], parsed.trust) if among else lambda: modality or "image"
    streams = _streams(call, recipe["data"], of_rows)
    with _training_threads(), releasing_memory():
        return rank_backbones(parsed, among, modality, budget, streams, call.progress).to_dict()


def compare_domains(call: Call, recipe: Plain) -> Plain:
    """Compare the domains `source` and `data` of a recipe without a training."""
    from transfer_core.pipeline.compare_domains import compare
    from transfer_core.recipe.parser import parse_recipe

    parsed = parse_recipe(recipe)
    streams = _streams(call, _sources(recipe), partial(_modality, parsed.backbone, parsed.trust))
    with releasing_memory():
        return compare(parsed, streams, call.progress).to_dict()


def runs(call: Call) -> list[Plain]:
    """List the runs of this machine."""
    from transfer_core.runs import list_runs

    return list_runs()


def remove_run(call: Call, run: str) -> Plain:
    """Remove a run that no process trains."""
    from transfer_core.runs import remove

    return remove(run)


def prune_runs(
    call: Call, max_bytes: int | None = None, older_than_s: float | None = None, dry_run: bool = False
) -> list[Plain]:
    """Remove the runs beyond these limits, or beyond those of automatic upkeep."""
    from transfer_core.runs import prune

    return prune(max_bytes, older_than_s, dry_run)


def describe(call: Call, model: str, trust: bool = False, signed_by: Keys = None) -> Plain:
    """Verify the file of a saved model and summarize it; `trust` allows the code that it names to run."""
    from pathlib import Path

    from transfer_core.model_file import trust as trusted
    from transfer_core.model_file.format import read_model
    from transfer_core.model_file.summary import summarize

    content = read_model(model, _ref(model, signed_by).keys)
    if trust:
        trusted.trust(content.digest, model)
    return summarize(Path(model), content.header)


def reload(call: Call, model: str, signed_by: Keys = None) -> Plain:
    """Load the current version of a saved model and summarize it."""
    found = models().reload(_ref(model, signed_by), call.progress.warning)
    return cast(Plain, _with_path(model, found).summary())


def predict(
    call: Call,
    model: str,
    inputs: Inputs,
    level: float | None = None,
    on_bad_input: OnBadInput = "raise",
    tile: bool = False,
    signed_by: Keys = None,
) -> Future[list[Plain]]:
    """Predict for each input, in order; concurrent requests share batches, unless images are tiled."""
    if tile:
        return _tiling().submit(predict_alone, call, model, inputs, level, on_bad_input, tile, signed_by)
    decode = _predictions if level is None else partial(_predictions, level=level)
    marks = on_bad_input == "mark"
    return serving().submit(call, _ref(model, signed_by), inputs, decode, _listed, marks)


def embed(call: Call, model: str, inputs: Inputs, signed_by: Keys = None) -> Future[Any]:
    """Embeddings (N, D) float32, one row per input; concurrent requests share batches."""
    return serving().submit(call, _ref(model, signed_by), inputs, _embeddings, _stacked)


def predict_alone(
    call: Call,
    model: str,
    inputs: Inputs,
    level: float | None = None,
    on_bad_input: OnBadInput = "raise",
    tile: bool = False,
    signed_by: Keys = None,
) -> list[Plain]:
    """Predict for each input, in order, without micro-batching."""
    return cast(list[Plain], _open(call, model, signed_by).predict(inputs, level, on_bad_input, tile))


def embed_alone(call: Call, model: str, inputs: Inputs, signed_by: Keys = None) -> Any:
    """Embeddings (N, D) float32, one row per input, without micro-batching."""
    return _open(call, model, signed_by).embed(inputs)


def serving_stats(call: Call) -> Plain:
    """Statistics of serving."""
    return serving().stats()


def evaluate(
    call: Call,
    model: str,
    data: str | Plain,
    columns: Plain | None = None,
    on_bad_input: Literal["raise", "skip"] = "raise",
    signed_by: Keys = None,
) -> Plain:
    """Compute metrics on other labelled data."""
    streams = _streams(call, data, lambda: _open(call, model, signed_by).modality.name)
    return cast(
        Plain,
        _open(call, model, signed_by).evaluate(data, columns, on_bad_input, streams, call.progress),
    )


def save(
    call: Call,
    model: str,
    path: str,
    backbone: bool = True,
    mode: int | None = None,
    signed_by: Keys = None,
) -> Plain:
    """Write a saved model to another path, with or without its backbone's weights.

    `mode` are the permissions of a new file. The returned `sha512` is of the bytes in memory, so that a
    signature never covers a file that another process has put there since.
    """
    from pathlib import Path

    digest = sha512()
    known = _with_path(model, _open(call, model, signed_by))
    known.write(Path(path), backbone, None if mode is None else mode & 0o666, digest)
    return {"path": path, "bytes": os.path.getsize(path), "sha512": digest.hexdigest()}


def draw(call: Call, image: Any, prediction: Plain, path: str) -> Plain:
    """Write a photo with the predicted boxes to `path`."""
    from transfer_core.data.drawing import draw as draw_prediction

    draw_prediction(image, prediction, path)
    return {"path": path, "bytes": os.path.getsize(path)}


def export(
    call: Call,
    model: str,
    path: str,
    precision: str = "float32",
    calibration: Any = None,
    evaluation: Any = None,
    columns: Plain | None = None,
    tolerance: float = 0.01,
    loader: str | None = None,
    mode: int | None = None,
    signed_by: Keys = None,
) -> Plain:
    """Write a saved model as an ONNX file, and report what was compared."""
    known = _open(call, model, signed_by)
    sources = {"calibration": calibration, "evaluation": evaluation}
    streams = _streams(call, sources, lambda: known.modality.name)
    report = known.export(
        path,
        precision,
        calibration,
        evaluation,
        columns,
        tolerance,
        loader,
        None if mode is None else mode & 0o666,
        streams,
        call.progress,
    )
    return {**asdict(report), "path": path, "loader": str(report.loader) if report.loader else None}


def backbones(
    call: Call,
    task: str | None = None,
    max_parameters: float | None = None,
    license: str | None = None,
    source: str | None = None,
    offline: bool = False,
) -> list[Plain]:
    """List the backbones that match the filters, the most relevant first."""
    import msgspec

    from transfer_core.backbones.catalogue import catalogue

    return [msgspec.to_builtins(e) for e in catalogue(task, max_parameters, license, source, offline)]


def backbone(call: Call, name: str, trust: bool = False) -> Plain:
    """Describe one backbone; `trust` allows its code to run."""
    import msgspec

    from transfer_core.backbones import facts

    return cast(Plain, msgspec.to_builtins(facts(name, trust)))


def doctor(call: Call, extras: Sequence[str] = (), torch: str | None = None) -> list[Plain]:
    """Check the installation, with the required `extras` and build of `torch` (`cpu`, `12.6`)."""
    from transfer_core.doctor import examine

    return [asdict(check) for check in examine(extras, torch)]


def cache_stats(call: Call) -> Plain:
    """Statistics of the cache."""
    from transfer_core import cache

    return cache.stats()


def cache_verify(call: Call) -> Plain:
    """Verify the cache, and delete damaged entries."""
    from transfer_core import cache

    return cache.verify()


def cache_prune(call: Call, max_bytes: int | None = None, older_than_s: float | None = None) -> Plain:
    """Delete entries of the cache beyond an age or a size, the least recently used first."""
    from transfer_core import cache

    return cast(Plain, cache.prune(max_bytes, older_than_s))


def cache_clear(call: Call) -> Plain:
    """Delete the whole cache."""
    from transfer_core import cache

    return cast(Plain, cache.clear())


@cache
def _tiling() -> Executor:
    """One thread, since an image with its tiles uses all cores."""
    return ThreadPoolExecutor(1, thread_name_prefix="transfer-tiles")


@contextmanager
def _training_threads() -> Iterator[None]:
    """Limit the compute threads of a training to `TRANSFER_TRAINING_THREADS`."""
    from transfer_core.runtime.devices import at_most_cores, core_setting, cores, torch_threads

    budget = core_setting("TRANSFER_TRAINING_THREADS")
    with at_most_cores(budget):
        # A training that imports torch itself takes its threads from `cores`.
        torch = sys.modules.get("torch")
        if torch is None:
            yield
            return
        with torch_threads(min(torch.get_num_threads(), budget or cores())):
            yield


def _ref(path: str, keys: Keys) -> ModelRef:
    return ModelRef(path, None if keys is None else frozenset(keys))


def _open(call: Call, path: str, keys: Keys) -> Any:
    return open_model(_ref(path, keys), call.progress.warning)


def _with_path(path: str, model: Any) -> Any:
    """The same model at `path`: another request may have loaded it by a path that now holds another file."""
    from pathlib import Path

    return replace(model, path=Path(path))


def _predictions(model: Any, computed: Any, level: float | None = None) -> list[Plain]:
    return cast(list[Plain], model.predictions(computed, level))


def _listed(model: Any, predictions: Sequence[Plain]) -> list[Plain]:
    return list(predictions)


def _embeddings(model: Any, computed: Any) -> Any:
    return model.embeddings(computed)


def _stacked(model: Any, rows: Sequence[Any]) -> Any:
    import numpy as np

    return np.stack(rows) if rows else model.embed([])


def _sources(recipe: Plain) -> Plain:
    """The words of a recipe that hold data."""
    return {word: recipe[word] for word in ("data", "source", "unlabelled") if word in recipe}


def _streams(call: Call, source: Any, modality: Callable[[], str]) -> dict[str, Iterator[Plain]]:
    """Ruby's rows for every `{stream: id}` in a recipe's `data`; `modality` returns that of their inputs."""
    match source:
        case {"stream": str(id)}:
            return {id: _rows(call, id, modality)}
        case dict():
            return {
                id: rows for part in source.values() for id, rows in _streams(call, part, modality).items()
            }
    return {}


def _rows(call: Call, id: str, modality: Callable[[], str]) -> Iterator[Plain]:
    yield from call.rows(id, modality())


def _modality(backbone: str, trust: bool) -> str:
    from transfer_core.backbones import facts

    return "image" if backbone == "auto" else facts(backbone, trust).modality


def _modality_of_run(run: str, trust: bool) -> str:
    from transfer_core.recipe.parser import parse_recipe
    from transfer_core.runs import find_run

    recipe = parse_recipe(find_run(run, trust).recipe)
    return _modality(recipe.backbone, recipe.trust)


METHODS = {
    "train": Method(exclusive(train, COMPUTE_LOCK), "compute"),
    "resume": Method(exclusive(resume, COMPUTE_LOCK), "compute"),
    "check": Method(check, "evaluate"),
    "rank": Method(exclusive(rank, COMPUTE_LOCK), "compute"),
    "compare_domains": Method(compare_domains, "evaluate"),
    "runs": Method(runs, "light"),
    "remove_run": Method(remove_run, "light"),
    "prune_runs": Method(prune_runs, "light"),
    "predict": Method(predict, "serve"),
    "embed": Method(embed, "serve"),
    "serving": Method(serving_stats, "now"),
    "evaluate": Method(evaluate, "evaluate"),
    "describe": Method(describe, "light"),
    "reload": Method(reload, "light"),
    "save": Method(save, "light"),
    "draw": Method(draw, "light"),
    "export": Method(export, "evaluate"),
    "backbones": Method(backbones, "light"),
    "backbone": Method(backbone, "light"),
    "doctor": Method(doctor, "light"),
    "cache_stats": Method(cache_stats, "light"),
    "cache_verify": Method(cache_verify, "light"),
    "cache_prune": Method(cache_prune, "light"),
    "cache_clear": Method(cache_clear, "light"),
    "ping": Method(ping, "now"),
}

# Without micro-batching: in the embedded worker, one call computes at a time.
UNBATCHED = {"predict": Method(predict_alone, "compute"), "embed": Method(embed_alone, "compute")}

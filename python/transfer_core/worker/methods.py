"""What Ruby can call: one small function per method over the public API."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from functools import partial
from hashlib import sha512
from typing import Any, Literal, cast

from transfer_core.runtime.allocator import giving_memory_back
from transfer_core.worker.calls import Call
from transfer_core.worker.model_cache import ModelRef, models, open_model
from transfer_core.worker.server import Method
from transfer_core.worker.serving import serving
from transfer_core.worker.turns import TURNS, in_turn
from transfer_core.worker.warned import warnings_to

# Nothing that is slow to import may stand above: the handshake comes first.

Plain = dict[str, Any]
Inputs = list[Any]  # what a modality says: a union that msgspec does not check
# Public keys of which one must have signed the model; None: it need not be signed.
Keys = list[bytes] | None
# `mark` puts `{error:}` in place of the prediction of an input that can't be read.
OnBadInput = Literal["raise", "mark"]


def import_engines() -> None:
    """Import what every training needs while Ruby still prepares its first call."""
    # A package that is missing or broken is reported by the call that needs it.
    for name in ("torch", "transfer_core.pipeline.five_steps"):
        with suppress(Exception):
            importlib.import_module(name)


def ping(call: Call) -> str:
    """Proof of life."""
    return "pong"


def train(call: Call, recipe: Plain) -> Plain:
    """Run a recipe; the model is on disk when this returns."""
    from transfer_core.recipe.parser import parse_recipe

    parsed = parse_recipe(recipe)  # before torch is imported: what is wrong is told at once
    from transfer_core.pipeline import five_steps

    streams = _streams(call, recipe["data"], partial(_modality, parsed.backbone, parsed.trust))
    with _training_threads(), giving_memory_back():
        return five_steps.run(parsed, streams, call.progress).summary()


def resume(call: Call, run: str, data: Any = None, trust: bool = False) -> Plain:
    """Resume an interrupted run; the model is on disk when this returns."""
    from transfer_core.pipeline import five_steps

    streams = _streams(call, data, partial(_modality_of_run, run, trust))
    with _training_threads(), giving_memory_back(), warnings_to(call.progress.warning):
        return five_steps.resume(run, data, streams, call.progress, trust).summary()


def check(call: Call, recipe: Plain) -> Plain:
    """Check the data of a recipe without a training."""
    from transfer_core.pipeline.data_check import check_data
    from transfer_core.recipe.parser import parse_recipe

    parsed = parse_recipe(recipe)
    streams = _streams(call, recipe["data"], partial(_modality, parsed.backbone, parsed.trust))
    return check_data(parsed, streams, call.progress).to_dict()


def runs(call: Call) -> list[Plain]:
    """The runs of this machine."""
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
    """What a saved model is, once its file is known to be whole; `trust` lets the code run that it names."""
    from pathlib import Path

    from transfer_core.model_file import trust as trusted
    from transfer_core.model_file.format import read_model
    from transfer_core.model_file.summary import summarize

    content = read_model(model, _ref(model, signed_by).keys)
    if trust:
        trusted.trust(content.digest, model)
    return summarize(Path(model), content.header)


def reload(call: Call, model: str, signed_by: Keys = None) -> Plain:
    """What a saved model is by now, once it is the one that predicts."""
    found = models().reload(_ref(model, signed_by), call.progress.warning)
    return cast(Plain, _known_as(model, found).summary())


def predict(
    call: Call,
    model: str,
    inputs: Inputs,
    level: float | None = None,
    on_bad_input: OnBadInput = "raise",
    signed_by: Keys = None,
) -> Future[list[Plain]]:
    """One prediction per input, in order, together with those that others ask for."""
    tell = _predictions if level is None else partial(_predictions, level=level)
    marks = on_bad_input == "mark"
    return serving().ask(call, _ref(model, signed_by), inputs, tell, _listed, marks)


def embed(call: Call, model: str, inputs: Inputs, signed_by: Keys = None) -> Future[Any]:
    """Embeddings (N, W) float32, one row per input, together with those that others ask for."""
    return serving().ask(call, _ref(model, signed_by), inputs, _embeddings, _stacked)


def predict_alone(
    call: Call,
    model: str,
    inputs: Inputs,
    level: float | None = None,
    on_bad_input: OnBadInput = "raise",
    signed_by: Keys = None,
) -> list[Plain]:
    """One prediction per input, in order."""
    return cast(list[Plain], _open(call, model, signed_by).predict(inputs, level, on_bad_input))


def embed_alone(call: Call, model: str, inputs: Inputs, signed_by: Keys = None) -> Any:
    """Embeddings (N, W) float32, one row per input."""
    return _open(call, model, signed_by).embed(inputs)


def serving_stats(call: Call) -> Plain:
    """What goes on in serving."""
    return serving().stats()


def evaluate(
    call: Call,
    model: str,
    data: str | Plain,
    columns: Plain | None = None,
    on_bad_input: Literal["raise", "skip"] = "raise",
    signed_by: Keys = None,
) -> Plain:
    """Metrics on other labelled data."""
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
    """Write a saved model elsewhere, with or without its backbone's weights; `mode` are a new file's
    permissions.

    `sha512` is of the bytes in memory, so that its signature covers no file that was put there since.
    """
    from pathlib import Path

    digest = sha512()
    known = _known_as(model, _open(call, model, signed_by))
    known.write(Path(path), backbone, None if mode is None else mode & 0o666, digest)
    return {"path": path, "bytes": os.path.getsize(path), "sha512": digest.hexdigest()}


def backbones(
    call: Call,
    task: str | None = None,
    max_parameters: float | None = None,
    license: str | None = None,
    source: str | None = None,
    offline: bool = False,
) -> list[Plain]:
    """The backbones that fit what is asked for, the most relevant first."""
    import msgspec

    from transfer_core.backbones.catalogue import catalogue

    return [msgspec.to_builtins(e) for e in catalogue(task, max_parameters, license, source, offline)]


def backbone(call: Call, name: str, trust: bool = False) -> Plain:
    """The facts of one backbone; `trust` lets the code run that comes with it."""
    import msgspec

    from transfer_core.backbones import facts

    return cast(Plain, msgspec.to_builtins(facts(name, trust)))


def doctor(call: Call, extras: Sequence[str] = (), torch: str | None = None) -> list[Plain]:
    """Check the installation. `extras` and the build of `torch` (`cpu`, `12.6`) must be there."""
    from transfer_core.doctor import examine

    return [asdict(check) for check in examine(extras, torch)]


def cache_stats(call: Call) -> Plain:
    """What the cache holds."""
    from transfer_core import cache

    return cache.stats()


def cache_verify(call: Call) -> Plain:
    """Look for damage in the cache, and drop what is damaged."""
    from transfer_core import cache

    return cache.verify()


def cache_prune(call: Call, max_bytes: int | None = None, older_than_s: float | None = None) -> Plain:
    """Delete what was not used for long, or least recently."""
    from transfer_core import cache

    return cast(Plain, cache.prune(max_bytes, older_than_s))


def cache_clear(call: Call) -> Plain:
    """Delete the whole cache."""
    from transfer_core import cache

    return cast(Plain, cache.clear())


@contextmanager
def _training_threads() -> Iterator[None]:
    """No more cores than a training may have."""
    import torch

    from transfer_core.runtime.devices import at_most_cores, core_setting, cores, torch_threads

    budget = core_setting("TRANSFER_TRAINING_THREADS")
    with at_most_cores(budget), torch_threads(min(torch.get_num_threads(), budget or cores())):
        yield


def _ref(path: str, keys: Keys) -> ModelRef:
    return ModelRef(path, None if keys is None else frozenset(keys))


def _open(call: Call, path: str, keys: Keys) -> Any:
    return open_model(_ref(path, keys), call.progress.warning)


def _known_as(path: str, model: Any) -> Any:
    """The same model. Who had it read may have known its file by another path, where another is by now."""
    from pathlib import Path

    return replace(model, path=Path(path))


def _predictions(model: Any, embeddings: Any, level: float | None = None) -> list[Plain]:
    return cast(list[Plain], model.predict_embeddings(embeddings, level))


def _listed(model: Any, predictions: Sequence[Plain]) -> list[Plain]:
    return list(predictions)


def _embeddings(model: Any, embeddings: Any) -> Any:
    return embeddings


def _stacked(model: Any, rows: Sequence[Any]) -> Any:
    import numpy as np

    return np.stack(rows) if rows else model.embed([])


def _streams(call: Call, source: Any, modality: Callable[[], str]) -> dict[str, Iterator[Plain]]:
    """Ruby's rows for every `{stream: id}` in a recipe's `data`; `modality` says what their inputs are."""
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

    return facts(backbone, trust).modality


def _modality_of_run(run: str, trust: bool) -> str:
    from transfer_core.recipe.parser import parse_recipe
    from transfer_core.runs import find_run

    recipe = parse_recipe(find_run(run, trust).recipe)
    return _modality(recipe.backbone, recipe.trust)


METHODS = {
    "train": Method(in_turn(train, TURNS), "compute"),
    "resume": Method(in_turn(resume, TURNS), "compute"),
    "check": Method(check, "evaluate"),
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
    "backbones": Method(backbones, "light"),
    "backbone": Method(backbone, "light"),
    "doctor": Method(doctor, "light"),
    "cache_stats": Method(cache_stats, "light"),
    "cache_verify": Method(cache_verify, "light"),
    "cache_prune": Method(cache_prune, "light"),
    "cache_clear": Method(cache_clear, "light"),
    "ping": Method(ping, "now"),
}

# Where one computes at a time: Python within somebody else's process.
UNGATHERED = {"predict": Method(predict_alone, "compute"), "embed": Method(embed_alone, "compute")}

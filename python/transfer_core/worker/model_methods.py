"""Methods of the worker for a saved model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import cache, partial
from hashlib import sha512
from typing import Any, Literal, cast

from transfer_core.runtime.devices import at_most_cores
from transfer_core.worker.calls import Call
from transfer_core.worker.model_cache import ModelRef, models, open_model
from transfer_core.worker.row_requests import streams_of
from transfer_core.worker.serving import serving

# Texts that are streamed at the same time; further ones wait.
_MOST_STREAMS = 16

# No slow imports at module level: the handshake must not wait for them.

Plain = dict[str, Any]
Inputs = list[Any]  # the type depends on the modality: msgspec can't check it
# Public keys of which one must have signed the model; None: unsigned is allowed.
Keys = list[bytes] | None
# `mark` puts `{error:}` in place of the prediction of an input that can't be read.
OnBadInput = Literal["raise", "mark"]


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
    augment: bool | list[Any] | None = None,
    min_score: float | None = None,
    signed_by: Keys = None,
) -> Future[list[Plain]]:
    """Predict for each input, in order; concurrent requests share batches, unless an image has several
    views."""
    if tile or augment:
        how = level, on_bad_input, tile, augment, min_score, signed_by
        return _views().submit(predict_alone, call, model, inputs, *how)
    decode = partial(_predictions, level=level, min_score=min_score)
    marks = on_bad_input == "mark"
    return serving().submit(call, _ref(model, signed_by), inputs, decode, _listed, marks)


def stream(call: Call, model: str, text: Any, signed_by: Keys = None) -> Future[Plain]:
    """Generate a text, with an event per piece; returns the prediction."""
    return _streaming().submit(stream_alone, call, model, text, signed_by)


def stream_alone(call: Call, model: str, text: Any, signed_by: Keys = None) -> Plain:
    """Generate a text in this thread, with an event per piece."""
    pieces = _open(call, model, signed_by).stream(text, call.progress.check)
    with at_most_cores(1):
        while True:
            try:
                call.progress.piece(next(pieces))
            except StopIteration as end:
                return cast(Plain, end.value)


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
    augment: bool | list[Any] | None = None,
    min_score: float | None = None,
    signed_by: Keys = None,
) -> list[Plain]:
    """Predict for each input, in order, without micro-batching."""
    return cast(
        list[Plain],
        _open(call, model, signed_by).predict(inputs, level, on_bad_input, tile, augment or False, min_score),
    )


def embed_alone(call: Call, model: str, inputs: Inputs, signed_by: Keys = None) -> Any:
    """Embeddings (N, D) float32, one row per input, without micro-batching."""
    return _open(call, model, signed_by).embed(inputs)


def evaluate(
    call: Call,
    model: str,
    data: str | Plain,
    columns: Plain | None = None,
    on_bad_input: Literal["raise", "skip"] = "raise",
    signed_by: Keys = None,
) -> Plain:
    """Compute metrics on other labelled data."""
    streams = streams_of(call, data, lambda: _open(call, model, signed_by).modality.name)
    return cast(
        Plain,
        _open(call, model, signed_by).evaluate(data, columns, on_bad_input, streams, call.progress),
    )


def report(
    call: Call,
    model: str,
    path: str,
    data: Any = None,
    columns: Plain | None = None,
    on_bad_input: Literal["raise", "skip"] = "raise",
    mode: int | None = None,
    signed_by: Keys = None,
) -> Plain:
    """Write a report on a saved model, as a page or a model card."""
    known = _with_path(model, _open(call, model, signed_by))
    streams = streams_of(call, data, lambda: known.modality.name)
    mode = None if mode is None else mode & 0o666
    known.report(path, data, columns, on_bad_input, mode, streams, call.progress)
    return {"path": path, "bytes": os.path.getsize(path)}


def select(
    call: Call,
    model: str,
    unlabelled: Any,
    count: int = 50,
    method: str = "auto",
    labelled: Any = None,
    columns: Plain | None = None,
    on_bad_input: Literal["raise", "skip"] = "raise",
    signed_by: Keys = None,
) -> Plain:
    """Select the inputs to label next."""
    known = _open(call, model, signed_by)
    sources = {"unlabelled": unlabelled, "labelled": labelled}
    streams = streams_of(call, sources, lambda: known.modality.name)
    words = (unlabelled, count, method, labelled, columns, on_bad_input)
    return cast(Plain, known.select(*words, streams, call.progress).to_dict())


def predict_all(
    call: Call,
    model: str,
    data: Any,
    into: str,
    columns: Plain | None = None,
    level: float | None = None,
    part: int = 1000,
    signed_by: Keys = None,
) -> Plain:
    """Predict all inputs of a source into a file."""
    known = _open(call, model, signed_by)
    streams = streams_of(call, data, lambda: known.modality.name)
    written = known.predict_all(data, into, columns, level, part, streams, call.progress)
    return {**asdict(written), "path": str(written.path)}


def explain(
    call: Call,
    model: str,
    input: Any,
    label: str | None = None,
    against: str | None = None,
    method: str = "auto",
    signed_by: Keys = None,
) -> Plain:
    """Explain the prediction for one input; heatmaps are tensors (H, W), overlays PNGs."""
    one = tuple(input) if isinstance(input, list) else input  # a pair of texts
    found = _open(call, model, signed_by).explain(one, label, against, method)
    plain = {**_shown(found), "html": found.to_html()}
    if found.boxes is not None:
        plain["boxes"] = [_shown(box) for box in found.boxes]
    if found.alignment is not None:
        plain["alignment"]["weights"] = found.alignment.weights
    return plain


def features(
    call: Call,
    model: str,
    input: Any,
    block: str | None = None,
    most: int = 16,
    signed_by: Keys = None,
) -> Plain:
    """The most active channels of a block for one image; maps are a tensor (C, h, w)."""
    found = _open(call, model, signed_by).features(input, block, most)
    plain = {"block": found.block, "channels": [*found.channels], "maps": found.maps}
    return {**plain, "overlay": found.overlay, "html": found.to_html()}


def attention(call: Call, model: str, input: Any, signed_by: Keys = None) -> Plain:
    """The attention of a transformer for one input; `heads` is a tensor (layers, H, L, L)."""
    one = tuple(input) if isinstance(input, list) else input
    found = _open(call, model, signed_by).attention(one)
    tokens = None if found.tokens is None else [*found.tokens]
    plain = {"heads": found.heads, "rolled_out": found.rolled_out, "tokens": tokens}
    return {**plain, "overlay": found.overlay, "html": found.to_html()}


def similar(call: Call, model: str, input: Any, count: int = 5, signed_by: Keys = None) -> list[Plain]:
    """The training examples nearest to one input; thumbnails are JPEGs."""
    one = tuple(input) if isinstance(input, list) else input  # a pair of texts
    return [found.to_dict() for found in _open(call, model, signed_by).similar(one, count)]


def influential(call: Call, model: str, input: Any, count: int = 5, signed_by: Keys = None) -> list[Plain]:
    """The training examples that influence the prediction for one input most; thumbnails are JPEGs."""
    one = tuple(input) if isinstance(input, list) else input
    return [found.to_dict() for found in _open(call, model, signed_by).influential(one, count)]


def faithfulness(
    call: Call,
    model: str,
    inputs: Inputs,
    method: str = "auto",
    most: int = 20,
    seed: int = 0,
    signed_by: Keys = None,
) -> Plain:
    """Measure whether explanations are faithful, on some inputs."""
    found = _open(call, model, signed_by).faithfulness(inputs, method, most, seed=seed)
    return cast(Plain, found.to_dict())


def _shown(explanation: Any) -> Plain:
    """An explanation as plain data, with its heatmap as a tensor and its picture."""
    plain = cast(Plain, explanation.to_dict())
    if explanation.heatmap is not None:
        plain["heatmap"] = explanation.heatmap
    overlay = explanation.overlay
    return plain if overlay is None else {**plain, "overlay": overlay}


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
    streams = streams_of(call, sources, lambda: known.modality.name)
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


@cache
def _streaming() -> Executor:
    """Threads for texts that are streamed; each waits for its reader."""
    return ThreadPoolExecutor(_MOST_STREAMS, thread_name_prefix="transfer-stream")


@cache
def _views() -> Executor:
    """One thread, since an image with its tiles or views uses all cores."""
    return ThreadPoolExecutor(1, thread_name_prefix="transfer-views")


def _ref(path: str, keys: Keys) -> ModelRef:
    return ModelRef(path, None if keys is None else frozenset(keys))


def _open(call: Call, path: str, keys: Keys) -> Any:
    return open_model(_ref(path, keys), call.progress.warning)


def _with_path(path: str, model: Any) -> Any:
    """The same model at `path`: another request may have loaded it by a path that now holds another file."""
    from pathlib import Path

    return replace(model, path=Path(path))


def _predictions(
    model: Any, computed: Any, level: float | None = None, min_score: float | None = None
) -> list[Plain]:
    return cast(list[Plain], model.predictions(computed, level, min_score))


def _listed(model: Any, predictions: Sequence[Plain]) -> list[Plain]:
    return list(predictions)


def _embeddings(model: Any, computed: Any) -> Any:
    return model.embeddings(computed)


def _stacked(model: Any, rows: Sequence[Any]) -> Any:
    import numpy as np

    return np.stack(rows) if rows else model.embed([])

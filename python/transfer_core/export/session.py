"""Run an exported graph by ONNX Runtime on inputs of a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from transfer_core.data import decode_image
from transfer_core.export.graph_of_model import Parts
from transfer_core.export.images import IMAGE
from transfer_core.export.tables import CATEGORIES, NUMBERS
from transfer_core.export.terms import SECOND, TOKENS
from transfer_core.export.texts import IDS, MASK, TEXT, TYPES
from transfer_core.features.tokens import Reader
from transfer_core.runtime.errors import DependencyError
from transfer_core.runtime.forks import skip_destructors_in_forks

Array: TypeAlias = npt.NDArray[Any]
Feed: TypeAlias = dict[str, Array]


class ExportedSession:
    """An exported file in memory, ready to run on one input of its model at a time."""

    def __init__(self, content: bytes, parts: Parts) -> None:
        self._session = bare_session(content)
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._inputs = {given.name for given in self._session.get_inputs()}
        self._parts = parts

    def run(self, input: Any) -> dict[str, Array]:
        """The outputs by name for one input; raises `DataError` if it can't be read."""
        feed = {name: array for name, array in feed_of(self._parts, input).items() if name in self._inputs}
        return dict(zip(self._outputs, self._session.run(self._outputs, feed), strict=True))


def bare_session(content: bytes) -> Any:
    """A session of ONNX Runtime on the CPU that logs no errors."""
    runtime = onnx_runtime()
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    return runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def onnx_runtime() -> Any:
    """The package onnxruntime; raises `DependencyError` without it."""
    try:
        import onnxruntime
    except ImportError:
        raise DependencyError("exporting a model", "onnxruntime", "onnx") from None
    skip_destructors_in_forks()
    return onnxruntime


def feed_of(parts: Parts, input: Any) -> Feed:
    """The inputs of the graph for one input of the model."""
    modality = parts.backbone.facts.modality
    if modality == "image":
        return {IMAGE: np.asarray(decode_image(input, parts.backbone.preprocessing.resize_size))[None]}
    if modality == "table":
        columns = parts.chain.reader.columns
        cells = columns.read(input)
        of_kind = {NUMBERS: columns.places(True), CATEGORIES: columns.places(False)}
        types = {NUMBERS: np.dtype(np.float64), CATEGORIES: np.dtype("O")}
        return {
            name: np.array([[cells[place] for place in places]], dtype=types[name])
            for name, places in of_kind.items()
        }
    return _terms(parts, input) if parts.is_fitted else _tokens(parts, input)


def _tokens(parts: Parts, text: Any) -> Feed:
    (windows,) = Reader(parts.backbone, parts.recipe.text).windows([text])
    longest = max(map(len, windows))
    feed = {name: np.zeros((len(windows), longest), np.int64) for name in (IDS, TYPES, MASK)}
    for row, window in enumerate(windows):
        tokens = np.asarray(window)
        feed[IDS][row, : len(tokens)], feed[TYPES][row, : len(tokens)] = tokens.T
        feed[MASK][row, : len(tokens)] = 1
    return {**feed, TEXT: np.zeros(len(windows), np.int64)}


def _terms(parts: Parts, text: Any) -> Feed:
    vectorizer = parts.chain.estimators[0]
    sides = zip((TOKENS, SECOND), text if parts.chain.reader.paired else (text,), strict=False)
    return {name: np.array([list(terms(vectorizer, side)) or [""]], dtype=object) for name, side in sides}


def terms(vectorizer: Any, text: str) -> Iterator[str]:
    """The terms of a text that a vectorizer counts the n-grams of (docs/reference/onnx_file.md)."""
    text = vectorizer.build_preprocessor()(text)
    if vectorizer.analyzer == "word":
        stop_words = vectorizer.get_stop_words() or ()
        yield from (term for term in vectorizer.build_tokenizer()(text) if term not in stop_words)
    elif vectorizer.analyzer == "char":
        yield from vectorizer._white_spaces.sub(" ", text)
    else:
        for word in text.split():
            yield from (" ", *word, " ", "")


def probe_inputs(parts: Parts) -> Sequence[Any]:
    """Made-up inputs of the model's modality, always the same."""
    from transfer_core.export.probes import probe_images, probe_rows, probe_texts

    modality = parts.backbone.facts.modality
    if modality == "image":
        return probe_images()
    if modality == "table":
        return probe_rows(parts.chain)
    return probe_texts(paired=parts.is_fitted and parts.chain.reader.paired)

"""Describe, load and restore TensorFlow's SavedModels as frozen backbones, run in a separate process."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import msgspec
from torch import Tensor

from transfer_core.backbones.asset_files import files_in
from transfer_core.backbones.backbone import Backbone
from transfer_core.backbones.facts import BackboneFacts, WeightsFacts
from transfer_core.backbones.foreign_network import (
    USUAL_SIZE,
    DeclaredPreprocessing,
    Files,
    Interface,
    check_weights,
    declared_in,
    foreign_backbone,
    foreign_facts,
    preprocessing,
)
from transfer_core.backbones.tensorflow.saved_model import (
    GRAPH,
    PREPARATION,
    files_digest,
    folder_digest,
    preparation,
    read_files,
)
from transfer_core.backbones.tensorflow.tensorflow_process import process_for
from transfer_core.backbones.tensorflow.tfhub import find_saved_model, handle_of
from transfer_core.runtime.errors import DependencyError, ModelFileError
from transfer_core.runtime.measurements import remembered
from transfer_core.runtime.progress import Progress

# TF Hub's convention for images: values from 0 to 1.
_MEAN, _STD = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


def facts(name: str, trust: bool) -> BackboneFacts:
    """See `Loading`; the input and output of a SavedModel are remembered."""
    _require_tensorflow()
    folder = find_saved_model(name)
    declared = _declared(folder, name)
    interface = _interface(name, folder, declared.size or USUAL_SIZE, trust)
    prepared = preprocessing(declared, interface, _MEAN, _STD, name)
    url = "" if name.startswith("tensorflow") else handle_of(name)
    return foreign_facts(name, "tensorflow", "SavedModel", "saved_model", interface.width, prepared, url)


def load(facts: BackboneFacts, weights: str, trust: bool, progress: Progress) -> Backbone:
    """See `Loading`; warns if a module outputs class scores and TF Hub has the same network's features."""
    check_weights(facts, weights)
    folder = find_saved_model(facts.name, progress)
    if "/classification/" in facts.name:
        better = facts.name.replace("/classification/", "/feature_vector/")
        progress.warning(f"{facts.name} outputs the scores of its own classes. Try: {better}")
    return _backbone(facts, read_files(folder), facts.default_weights, folder_digest(folder), trust)


def restore(
    facts: BackboneFacts,
    tensors: Mapping[str, Tensor],
    weights: WeightsFacts | None,
    digest: str,
    trust: bool,
) -> Backbone:
    """See `Loading`."""
    _require_tensorflow()
    files = files_in(tensors)
    if GRAPH not in files:
        raise ModelFileError(f"the saved model lacks the file {GRAPH} of {facts.name}")
    return _backbone(facts, files, weights or facts.default_weights, digest, trust)


def _backbone(
    facts: BackboneFacts, files: Files, weights: WeightsFacts, digest: str, trust: bool
) -> Backbone:
    assert weights.preprocessing
    size = weights.preprocessing.crop_size
    # A saved model may claim any digest: shared processes are found by the digest of the files themselves.
    content = files_digest(files)
    return foreign_backbone(
        facts, files, weights, digest, lambda files: process_for(facts.name, content, files, size, trust)
    )


def _interface(name: str, folder: Path, size: int, trust: bool) -> Interface:
    digest = folder_digest(folder)
    process = process_for(name, digest, partial(read_files, folder), size, trust)
    known = remembered(f"SavedModel {digest}", lambda: msgspec.to_builtins(process.interface()))
    return msgspec.convert(known, Interface)


def _declared(folder: Path, name: str) -> DeclaredPreprocessing:
    file = folder / PREPARATION
    if not file.is_file():
        return DeclaredPreprocessing()
    return declared_in(preparation(file.read_bytes(), name), name)


def _require_tensorflow() -> None:
    if find_spec("tensorflow") is None:  # which does not import it
        raise DependencyError("a SavedModel", "tensorflow", "tensorflow")

"""Describe, load and restore ONNX files as frozen backbones, run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from torch import Tensor

from transfer_core.backbones.asset_files import files_in
from transfer_core.backbones.backbone import Backbone
from transfer_core.backbones.facts import BackboneFacts, WeightsFacts
from transfer_core.backbones.foreign_network import (
    Files,
    check_weights,
    declared_in,
    foreign_backbone,
    foreign_facts,
    preprocessing,
)
from transfer_core.backbones.onnx.onnx_description import describe
from transfer_core.backbones.onnx.onnx_interface import with_standard_interface
from transfer_core.backbones.onnx.onnx_network import FILE, OnnxNetwork
from transfer_core.backbones.onnx.onnx_tensor_files import read_whole
from transfer_core.runtime.errors import ModelFileError, WeightsNotFound
from transfer_core.runtime.progress import Progress

# Of ImageNet, the default: nearly every exported network was trained with it.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def facts(name: str, trust: bool) -> BackboneFacts:
    """See `Loading`; the description of a file is remembered."""
    content = _read(_path(name))
    known = describe(content, name)
    prepared = preprocessing(declared_in(known.declared, name), known.interface, _MEAN, _STD, name)
    return foreign_facts(name, "onnx", "ONNX", "graph", known.interface.width, prepared, bytes=len(content))


def load(facts: BackboneFacts, weights: str, trust: bool, progress: Progress) -> Backbone:
    """See `Loading`."""
    check_weights(facts, weights)
    content = _read(_path(facts.name))
    return _backbone(facts, {FILE: content}, facts.default_weights, _digest(content), trust)


def restore(
    facts: BackboneFacts,
    tensors: Mapping[str, Tensor],
    weights: WeightsFacts | None,
    digest: str,
    trust: bool,
) -> Backbone:
    """See `Loading`."""
    files = files_in(tensors)
    if FILE not in files:
        raise ModelFileError(f"the saved model lacks the file {FILE} of {facts.name}")
    return _backbone(facts, files, weights, digest, trust)


def onnx_graph(backbone: Backbone, given: str, result: str) -> bytes:
    """See `graph.onnx_graph`: the file itself, with the names and layouts of a converted backbone."""
    return with_standard_interface(backbone.assets.files()[FILE], backbone.facts.name, given, result)


def _backbone(
    facts: BackboneFacts, files: Files, weights: WeightsFacts | None, digest: str, trust: bool
) -> Backbone:
    return foreign_backbone(
        facts, files, weights, digest, lambda files: OnnxNetwork(facts.name, files, trust)
    )


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise WeightsNotFound(f"backbone: the file {path.absolute()} does not exist")
    return read_whole(path)


def _path(name: str) -> Path:
    return Path(name.removeprefix("onnx:")).expanduser()


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()

"""ONNX files as frozen extractors, run by ONNX Runtime."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
from torch import Tensor

from transfer_core.backbones.assets import files_in
from transfer_core.backbones.backbone import Backbone
from transfer_core.backbones.facts import BackboneFacts, WeightsFacts
from transfer_core.backbones.foreign import (
    USUAL_SIZE,
    Files,
    Interface,
    Said,
    check_weights,
    foreign_backbone,
    foreign_facts,
    preprocessing,
    said_in,
)
from transfer_core.backbones.onnx.network import FILE, OnnxNetwork, interface_of, open_graph
from transfer_core.errors import DependencyError, ModelFileError, WeightsNotFound
from transfer_core.measurements import remembered
from transfer_core.progress import Progress

# Of ImageNet's photos: what nearly every exported network was trained with.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# A tensor that lies in another file says so by a pair of strings of which the first is this one.
_LIES_ELSEWHERE = b"\x0a\x08location\x12"


def facts(name: str, trust: bool) -> BackboneFacts:
    """See `Source`; what ONNX Runtime says of a file is remembered."""
    content = read_whole(_path(name))
    known = remembered(f"ONNX {_digest(content)}", lambda: _described(content, name))
    interface = msgspec.convert(known["interface"], Interface)
    prepared = preprocessing(said_in(known["said"], name), interface, _MEAN, _STD, name)
    return foreign_facts(name, "onnx", "ONNX", "graph", interface.width, prepared, bytes=len(content))


def load(facts: BackboneFacts, weights: str, trust: bool, progress: Progress) -> Backbone:
    """See `Source`."""
    check_weights(facts, weights)
    content = read_whole(_path(facts.name))
    return _backbone(facts, {FILE: content}, facts.default_weights, _digest(content))


def restore(
    facts: BackboneFacts,
    tensors: Mapping[str, Tensor],
    weights: WeightsFacts | None,
    digest: str,
    trust: bool,
) -> Backbone:
    """See `Source`."""
    files = files_in(tensors)
    if FILE not in files:
        raise ModelFileError(f"{facts.name} is not in the saved model: there is no {FILE}")
    return _backbone(facts, files, weights, digest)


def read_whole(path: Path) -> bytes:
    """The file, with the tensors in it that lie in files beside it.

    Raises
    ------
    WeightsNotFound
        If it is not there.
    ModelFileError
        If a file beside it is missing, or what they have together is above the 2 GB of the format.
    DependencyError
        If there are such files, but not the package that reads them.
    """
    if not path.is_file():
        raise WeightsNotFound(f"backbone: there is no file {path.absolute()}")
    content = path.read_bytes()
    if _LIES_ELSEWHERE not in content:
        return content
    try:
        import onnx
    except ImportError:
        raise DependencyError(f"{path}, whose weights are in other files,", "onnx", "onnx") from None
    try:
        whole: bytes = onnx.load(path).SerializeToString()
    except Exception as error:  # its own errors, protobuf's, the file system's
        raise ModelFileError(f"{path}: can't read its weights: {' '.join(str(error).split())}") from error
    return whole


def _backbone(facts: BackboneFacts, files: Files, weights: WeightsFacts | None, digest: str) -> Backbone:
    return foreign_backbone(facts, files, weights, digest, lambda files: OnnxNetwork(facts.name, files))


def _described(content: bytes, name: str) -> dict[str, Any]:
    graph = open_graph(content, name)
    words = {word: _value(text) for word, text in graph.metadata.items() if word in Said.__struct_fields__}
    interface = interface_of(graph, said_in(words, name).size or USUAL_SIZE)
    return {"said": words, "interface": msgspec.to_builtins(interface)}


def _value(text: str) -> Any:
    """`224` and `[0.5, 0.5, 0.5]` as numbers."""
    with suppress(ValueError):
        return json.loads(text)
    return text


def _path(name: str) -> Path:
    return Path(name.removeprefix("onnx:")).expanduser()


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()

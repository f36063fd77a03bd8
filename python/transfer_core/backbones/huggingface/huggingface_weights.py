"""Read the weights of a model of the hub: one file, or the shards that an index lists."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from transfer_core.backbones.huggingface.repository import Repository
from transfer_core.backbones.weights import sha256
from transfer_core.backbones.weights_reader import read_tensors
from transfer_core.runtime.errors import ModelFileError, WeightsNotFound
from transfer_core.runtime.progress import Progress

SAFETENSORS = "model.safetensors"
# Anything but tensors in a pickle is refused, never run.
PICKLED = "pytorch_model.bin"


@dataclass(frozen=True)
class FoundTensors:
    """`tensors` by their publisher's names, and the file or index that they come from."""

    file: Path
    tensors: dict[str, Tensor]
    digest: str


def find_tensors(repository: Repository, progress: Progress) -> FoundTensors:
    """Read all tensors of a model, downloading them if necessary.

    Raises
    ------
    WeightsNotFound
        If it has no weights.
    ModelFileError
        If a file is damaged or missing, or contains more than tensors.
    """
    for name in (SAFETENSORS, PICKLED):
        if file := repository.path(name, progress):
            return FoundTensors(file, read_tensors(file), sha256(file))
        if index := repository.path(f"{name}.index.json", progress):
            return _sharded(index, list(_shards(repository, f"{name}.index.json", progress)))
    raise WeightsNotFound(f"{repository.folder} has no weights: expected {SAFETENSORS} or {PICKLED}")


def _shards(repository: Repository, index: str, progress: Progress) -> Iterator[Path]:
    """The files that an index lists, each once."""
    shards = repository.json(index).get("weight_map", {})
    for name in sorted(set(shards.values())):
        file = repository.path(name, progress) if "/" not in name else None
        if file is None:
            raise ModelFileError(f"{repository.folder / index} lists {name}, which does not exist")
        yield file


def _sharded(index: Path, files: list[Path]) -> FoundTensors:
    tensors = {name: tensor for file in files for name, tensor in read_tensors(file).items()}
    digest = hashlib.sha256("".join(map(sha256, files)).encode()).hexdigest()
    return FoundTensors(index, tensors, digest)

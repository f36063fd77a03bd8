"""The weights of a model of the hub: one file, or several that an index names."""

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
# What a pickle holds beside tensors is refused, never run.
PICKLED = "pytorch_model.bin"


@dataclass(frozen=True)
class FoundTensors:
    """`tensors` by their publisher's names; `file` is where they were, or the index of several files."""

    file: Path
    tensors: dict[str, Tensor]
    digest: str


def find_tensors(repository: Repository, progress: Progress) -> FoundTensors:
    """All tensors of a model, which are fetched if they have to be.

    Raises
    ------
    WeightsNotFound
        If there are none.
    ModelFileError
        If a file is damaged or missing, or more than tensors.
    """
    for name in (SAFETENSORS, PICKLED):
        if file := repository.path(name, progress):
            return FoundTensors(file, read_tensors(file), sha256(file))
        if index := repository.path(f"{name}.index.json", progress):
            return _sharded(index, list(_shards(repository, f"{name}.index.json", progress)))
    raise WeightsNotFound(f"{repository.folder} has no weights: expected {SAFETENSORS} or {PICKLED}")


def _shards(repository: Repository, index: str, progress: Progress) -> Iterator[Path]:
    """The files that an index names, each once."""
    said = repository.json(index).get("weight_map", {})
    for name in sorted(set(said.values())):
        file = repository.path(name, progress) if "/" not in name else None
        if file is None:
            raise ModelFileError(f"{repository.folder / index} names {name}, which is not there")
        yield file


def _sharded(index: Path, files: list[Path]) -> FoundTensors:
    tensors = {name: tensor for file in files for name, tensor in read_tensors(file).items()}
    digest = hashlib.sha256("".join(map(sha256, files)).encode()).hexdigest()
    return FoundTensors(index, tensors, digest)

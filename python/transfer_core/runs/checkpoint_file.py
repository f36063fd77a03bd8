"""Checkpoint file: a safetensors file with checksums, replaced atomically. No pickle, no torch."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from transfer_core.model_file.format import tensors_digest
from transfer_core.model_file.safetensors_reader import (
    Malformed,
    check_places,
    opened,
    read_arrays,
    read_table,
)
from transfer_core.model_file.safetensors_writer import serialized
from transfer_core.runtime.atomic import replacing, unfollowed
from transfer_core.runtime.permissions import FILE
from transfer_core.training.checkpointer import Snapshot

ENTRY = "transfer_checkpoint"
FORMAT_VERSION = 1


class Damaged(Exception):
    """A checkpoint that cannot be used; the message gives the reason."""


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """Position of a run: `epoch` of `epochs` of its training phase number `phase`; phase 0 fits the new head.

    `history` holds the epochs of earlier phases, `warnings` all warnings so far.
    """

    phase: int
    step: str
    epoch: int
    epochs: int
    history: list[dict[str, Any]]
    warnings: list[str]


class _Entry(msgspec.Struct, frozen=True):
    """Content of the header of the file."""

    tensors_sha256: str
    position: Position
    facts: dict[str, Any]


def write_checkpoint(path: Path, position: Position, snapshot: Snapshot) -> None:
    """Replace the checkpoint at `path`.

    Raises
    ------
    ConfigurationError
        If it cannot be written; the previous checkpoint is still there.
    """
    tensors = {name: _as_array(tensor) for name, tensor in snapshot.tensors.items()}
    # Not msgspec's JSON, which has no infinity.
    fields = json.dumps(
        {
            "format_version": FORMAT_VERSION,
            "tensors_sha256": tensors_digest(tensors),
            "position": msgspec.structs.asdict(position),
            "facts": dict(snapshot.facts),
        }
    )
    entry = {ENTRY: fields, "sha256": sha256(fields.encode()).hexdigest()}
    with replacing(path, FILE) as temporary, open(temporary, "wb", opener=unfollowed) as file:
        file.writelines(serialized(tensors, entry))


def read_position(path: Path) -> Position:
    """Return the position of a run without reading its tensors; raises `Damaged`."""
    return _read(path, with_tensors=False)[0].position


def read_checkpoint(path: Path) -> tuple[Position, Snapshot]:
    """Return position and state; raises `Damaged` if the content does not match its checksums."""
    entry, tensors = _read(path, with_tensors=True)
    if tensors_digest(tensors) != entry.tensors_sha256:
        raise Damaged("its tensors do not match their checksum")
    return entry.position, Snapshot(tensors, entry.facts)


def _read(path: Path, with_tensors: bool) -> tuple[_Entry, dict[str, Any]]:
    try:
        with opened(path) as file:
            table = read_table(file)
            check_places(table)
            fields = table.metadata.get(ENTRY, "")
            if sha256(fields.encode()).hexdigest() != table.metadata.get("sha256"):
                raise Damaged("its header does not match its checksum")
            entry = json.loads(fields)
            if entry["format_version"] != FORMAT_VERSION:
                raise Damaged(f"its format version is {entry['format_version']}, expected {FORMAT_VERSION}")
            return msgspec.convert(entry, _Entry), read_arrays(file, table) if with_tensors else {}
    except Malformed as error:
        raise Damaged(f"it {error}") from error
    except (msgspec.ValidationError, OSError, ValueError, KeyError) as error:
        raise Damaged(f"it cannot be read ({error})") from error


def _as_array(tensor: Any) -> np.ndarray:
    array = tensor.detach().cpu().numpy() if hasattr(tensor, "detach") else tensor
    return np.ascontiguousarray(array).reshape(array.shape)

"""A saved model: one safetensors file with one JSON entry. `docs/reference/model_file.md` is the format.

No pickle, and no torch: a header is read in a millisecond, tensors are numpy arrays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

import msgspec
import numpy as np

from transfer_core.model_file.header import (
    BackboneSource,
    ModelHeader,
    content_digest,
    decode_entry,
    encode_entry,
)
from transfer_core.model_file.safetensors_reader import (
    Array,
    Malformed,
    NotRegular,
    NotSafetensors,
    Table,
    check_places,
    opened,
    read_arrays,
    read_table,
)
from transfer_core.model_file.safetensors_writer import DTYPES, serialized
from transfer_core.model_file.signature import PublicKeys, remove_signature, verify_signature
from transfer_core.runtime.atomic import replacing, unfollowed
from transfer_core.runtime.errors import ConfigurationError, ModelFileError

__all__ = [
    "BackboneSource",
    "ModelContent",
    "ModelHeader",
    "read_header",
    "read_model",
    "tensors_digest",
    "without_backbone",
    "write_model",
]

ENTRY = "transfer"
BACKBONE_PREFIX = "backbone."
HEAD_PREFIX = "head."
NOVELTY_PREFIX = "novelty."


class Digest(Protocol):
    """Incremental digest, as in `hashlib`."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Append bytes."""


class ModelContent(NamedTuple):
    """The content of a model file. `digest` is the SHA-256, in hex, of the entry, which contains that of the
    tensors."""

    header: ModelHeader
    arrays: dict[str, Array]
    digest: str


def write_model(
    path: str | Path,
    tensors: Mapping[str, Any],
    header: ModelHeader,
    mode: int | None = None,
    digest: Digest | None = None,
) -> ModelContent:
    """Save a model; an existing file is replaced in one step, and a failure leaves it as it was.

    The signature of a replaced file is removed.

    Parameters
    ----------
    tensors
        Name to numpy array, or to anything with `.detach().cpu().numpy()`. Those of the backbone are
        named `backbone.…`. The same tensors and header give the same bytes.
    mode
        Permissions of a new file, default: 0666 less the umask.
    digest
        Updated with the bytes of the file, as they are in memory.

    Returns
    -------
    ModelContent
        The content as `read_model` reads it, from memory.

    Raises
    ------
    ConfigurationError
        The file can't be written: no such folder, no permission, the disk is full.
    ModelFileError
        The header or a tensor is something that the file can't hold (bfloat16, for one).
    """
    arrays = {name: _as_array(name, tensor) for name, tensor in tensors.items()}
    entry = encode_entry(header, tensors_digest(arrays))
    with replacing(path, mode) as temporary, open(temporary, "wb", opener=unfollowed) as file:
        for part in serialized(arrays, {ENTRY: entry}):
            file.write(part)
            if digest:
                digest.update(part)
    remove_signature(path)
    return ModelContent(decode_entry(entry, path)[0], arrays, content_digest(entry))


def read_header(path: str | Path) -> ModelHeader:
    """Read the header without the tensors; raises `ModelFileError`."""
    with _reading(path) as file:
        return _read_entry(file, path)[0]


def read_model(path: str | Path, keys: PublicKeys | None = None) -> ModelContent:
    """Read a model file and verify its checksums; raises `ModelFileError`.

    One of `keys` must have signed the file, which is verified before it is parsed; None: no signature needed.
    """
    with _reading(path) as file:
        source = file if keys is None else _verified(file, path, keys)
        header, digest, table = _read_entry(source, path)
        arrays = read_arrays(source, table)
    if tensors_digest(arrays) != digest:
        raise ModelFileError(f"{path} is damaged: its weights are not those that were saved")
    return ModelContent(header, arrays, content_digest(table.metadata[ENTRY]))


def without_backbone(header: ModelHeader, target: str | Path) -> ModelHeader:
    """Header of a file without backbone, whose published weights are looked up on loading.

    Raises
    ------
    ConfigurationError
        The backbone was fine-tuned, began with random weights, or was fitted: they exist nowhere else.
    """
    own = {"random": "has random weights", "fitted": "was fitted on the training examples"}
    why = "was fine-tuned" if header.backbone.fine_tuned else own.get(header.backbone.weights)
    if why:
        raise ConfigurationError(
            f"can't save {target} without the backbone: {header.backbone.name} {why}, so its weights "
            "exist only in this model; save it with the backbone"
        )
    backbone = msgspec.structs.replace(header.backbone, inside=False)
    return msgspec.structs.replace(header, backbone=backbone)


def tensors_digest(tensors: Mapping[str, Any]) -> str:
    """Hex sha256 over all tensors by name: `name\\ndtype\\n2,3\\n` in UTF-8, then the little-endian bytes.

    `tensors` are as in `write_model`.
    """
    digest = sha256()
    for name in sorted(tensors):
        array = _as_array(name, tensors[name])
        shape = ",".join(map(str, array.shape))
        digest.update(f"{name}\n{DTYPES[array.dtype.name]}\n{shape}\n".encode())
        digest.update(array.data if array.size else b"")
    return digest.hexdigest()


def _as_array(name: str, tensor: Any) -> Array:
    """Convert to a row-major little-endian array."""
    if hasattr(tensor, "detach"):
        try:
            tensor = tensor.detach().cpu().numpy()
        except TypeError as error:
            raise ModelFileError(_unknown_type(name, tensor.dtype)) from error
    array = np.asarray(tensor)
    if array.dtype.name not in DTYPES:
        raise ModelFileError(_unknown_type(name, array.dtype))
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")


def _unknown_type(name: str, dtype: object) -> str:
    return f'can\'t save the tensor "{name}" of {dtype}: a model file holds {", ".join(DTYPES)}'


@contextmanager
def _reading(path: str | Path) -> Iterator[BinaryIO]:
    """Open a saved model; convert errors of the file to `ModelFileError`."""
    shown = str(path).replace("\0", "\\0")
    try:
        with opened(path) as file:
            yield file
    except FileNotFoundError as error:
        raise ModelFileError(f"there is no file {shown}") from error
    except OSError as error:
        raise ModelFileError(f"can't read {shown}: {error.strerror}") from error
    except NotRegular as error:
        raise ModelFileError(f"{shown} {error}, a saved model is one") from error
    except NotSafetensors as error:
        raise ModelFileError(f"{shown} is not a saved model: it {error}") from error
    except Malformed as error:
        raise ModelFileError(f"{shown} {error}") from error


def _verified(file: BinaryIO, path: str | Path, keys: PublicKeys) -> BinaryIO:
    """The content of `file` in memory, which no other process can change after its signature was verified."""
    content = file.read()
    verify_signature(content, path, keys)
    return BytesIO(content)


def _read_entry(file: BinaryIO, path: str | Path) -> tuple[ModelHeader, str, Table]:
    """Read the header, the digest of the tensors and their offsets, and check the length of the file."""
    table = read_table(file)
    if ENTRY not in table.metadata:
        raise ModelFileError(f"{path} is a safetensors file, but was not saved by Transfer")
    header, digest = decode_entry(table.metadata[ENTRY], path)
    if unknown := {place.dtype for place in table.places.values()} - set(DTYPES.values()):
        raise ModelFileError(
            f"{path} holds tensors of the type {min(unknown)}, which this version can't read"
        )
    check_places(table)
    return header, digest, table

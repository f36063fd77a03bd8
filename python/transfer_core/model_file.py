"""A saved model: one safetensors file with one JSON entry. `docs/model_file.md` is the format.

No pickle, and no torch: a header is read in a millisecond, tensors are numpy arrays.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from transfer_core.atomic import replacing
from transfer_core.errors import ConfigurationError, ModelFileError
from transfer_core.model_header import BackboneSource, ModelHeader, TargetScaling, seal, unseal

__all__ = [
    "BackboneSource",
    "ModelHeader",
    "TargetScaling",
    "read_header",
    "read_model",
    "tensors_digest",
    "without_backbone",
    "write_model",
]

ENTRY = "transfer"
BACKBONE_PREFIX = "backbone."
# What safetensors itself allows. A wrong length must not make us read, or allocate, more.
LONGEST_HEADER = 100_000_000

Array: TypeAlias = npt.NDArray[Any]
DTYPES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}


class _Place(msgspec.Struct):
    """A tensor in the table of contents; offsets count from the end of the header."""

    dtype: str
    data_offsets: tuple[int, int]


def write_model(path: str | Path, tensors: Mapping[str, Any], header: ModelHeader) -> None:
    """Save a model; an existing file is replaced in one step, and a failure leaves it as it was.

    Parameters
    ----------
    tensors
        Name to numpy array, or to anything with `.detach().cpu().numpy()`. Those of the backbone are
        named `backbone.…`. The same tensors and header give the same bytes.

    Raises
    ------
    ConfigurationError
        The file can't be written: no such folder, no permission, the disk is full.
    ModelFileError
        The header or a tensor is something that the file can't hold (bfloat16, for one).
    """
    arrays = {name: _as_array(name, tensor) for name, tensor in tensors.items()}
    entry = seal(header, tensors_digest(arrays))
    with replacing(path) as temporary:
        try:
            save_file(arrays, temporary, metadata={ENTRY: entry})
        except SafetensorError as error:
            raise ConfigurationError(f"can't save to {path}: {error}") from error


def read_header(path: str | Path) -> ModelHeader:
    """Everything but the tensors, without reading them; raises `ModelFileError`."""
    with _reading(path) as file:
        return _read_entry(file, path)[0]


def read_model(path: str | Path) -> tuple[ModelHeader, dict[str, Array]]:
    """The header and the tensors, checked byte by byte; raises `ModelFileError`."""
    with _reading(path) as file:
        header, digest = _read_entry(file, path)
        try:
            # This very file: by now another may have its name.
            with safe_open(f"/dev/fd/{file.fileno()}", framework="np") as opened:
                arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 no dict
        except SafetensorError as error:
            raise ModelFileError(f"{path} is damaged: {error}") from error
    if tensors_digest(arrays) != digest:
        raise ModelFileError(f"{path} is damaged: its weights are not those that were saved")
    return header, arrays


def without_backbone(header: ModelHeader, target: str | Path) -> ModelHeader:
    """The header of a small file, for whose backbone the published weights are found again on loading.

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
    """Row-major and little-endian, as the file wants it."""
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
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ModelFileError(f"{path} is not a file, a saved model is one")
        with open(path, "rb") as file:
            yield file
    except FileNotFoundError as error:
        raise ModelFileError(f"there is no file {path}") from error
    except OSError as error:
        raise ModelFileError(f"can't read {path}: {error.strerror}") from error


def _read_entry(file: BinaryIO, path: str | Path) -> tuple[ModelHeader, str]:
    """The header and the tensors' digest, from a file that is as long as it says."""
    size = os.fstat(file.fileno()).st_size
    raw = _raw_header(file, size, path)
    try:
        table = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        metadata = msgspec.json.decode(table.pop("__metadata__", b"{}"), type=dict[str, str])
        places = [msgspec.json.decode(place, type=_Place) for place in table.values()]
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ModelFileError(f"{path} is damaged: {error}") from error
    if ENTRY not in metadata:
        raise ModelFileError(f"{path} is a safetensors file, but was not saved by Transfer")
    header, digest = unseal(metadata[ENTRY], path)
    expected = 8 + len(raw) + max((place.data_offsets[1] for place in places), default=0)
    if size < expected:
        raise ModelFileError(f"{path} is cut short: {size:,} of {expected:,} bytes are there")
    if size > expected:
        raise ModelFileError(f"{path} is damaged: it has {size:,} bytes instead of {expected:,}")
    if unknown := {place.dtype for place in places} - set(DTYPES.values()):
        raise ModelFileError(
            f"{path} holds tensors of the type {min(unknown)}, which this version can't read"
        )
    return header, digest


def _raw_header(file: BinaryIO, size: int, path: str | Path) -> bytes:
    """The JSON at the start of a safetensors file, with its padding."""
    if size == 0:
        raise ModelFileError(f"{path} is empty")
    start = file.read(9)
    length = int.from_bytes(start[:8], "little")
    if start[8:] != b"{" or not 2 <= length <= LONGEST_HEADER:
        raise ModelFileError(f"{path} is not a saved model: it is no safetensors file, or cut short")
    if 8 + length > size:
        raise ModelFileError(f"{path} is cut short: {size - 8:,} of the header's {length:,} bytes are there")
    raw = b"{" + file.read(length - 1)
    # Padding is spaces; JSON parsers would let another kind of blank pass unnoticed.
    if not raw.rstrip(b" ").endswith(b"}"):
        raise ModelFileError(f"{path} is damaged: its header does not end as JSON does")
    return raw

"""Arrays on the wire: extension type 1 carries the bytes, type 2 the name of a file that holds them."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgpack

from transfer_core.errors import ProtocolError

if TYPE_CHECKING:
    import numpy as np

TENSOR = 1
TENSOR_FILE = 2
ITEM_BYTES = {"float32": 4, "float64": 8, "int64": 8, "uint8": 1}
LARGEST_INLINE = 8 * 1024 * 1024

# Files whose receiver may not have come for them yet.
_written: list[str] = []


@dataclass(frozen=True)
class Tensor:
    """An array as it stands on the wire: little-endian, row-major."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes

    def to_numpy(self) -> np.ndarray[Any, Any]:
        """A writable array in this machine's byte order."""
        return _to_numpy(self.data, self.dtype, self.shape)


@dataclass(frozen=True)
class TensorFile:
    """An array whose bytes are in the file `path`, which belongs to whoever receives it."""

    dtype: str
    shape: tuple[int, ...]
    path: str

    def to_numpy(self) -> np.ndarray[Any, Any]:
        """A writable array in this machine's byte order; the file is gone afterwards."""
        data = Path(self.path).read_bytes()
        os.unlink(self.path)
        if len(data) != _byte_count(self.dtype, self.shape):
            raise ProtocolError(
                f"tensor file of {len(data)} bytes does not hold {self.dtype} {list(self.shape)}"
            )
        return _to_numpy(data, self.dtype, self.shape)


def parse_extension(kind: int, payload: bytes) -> Tensor | TensorFile:
    """What an extension value means.

    Raises
    ------
    ProtocolError
        For another type than 1 and 2, or a payload that is not `[dtype, shape, bytes or path]`.
    """
    if kind not in (TENSOR, TENSOR_FILE):
        raise ProtocolError(f"unknown extension type {kind}, expected 1 or 2")
    try:
        parts = msgpack.unpackb(payload, raw=False)
    except (ValueError, msgpack.UnpackException) as error:
        raise ProtocolError(f"extension type {kind} is not MessagePack: {error}") from None
    if not isinstance(parts, list) or len(parts) != 3:
        raise ProtocolError(f"extension type {kind} is not [dtype, shape, content]")
    dtype, shape, content = parts
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise ProtocolError(f"unknown dtype {dtype!r:.40}, expected one of: {', '.join(ITEM_BYTES)}")
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise ProtocolError("the shape of a tensor is not a list of non-negative integers")
    if kind == TENSOR_FILE:
        return TensorFile(dtype, tuple(shape), _expect(content, str, "the path of a tensor"))
    data = _expect(content, bytes, "the content of a tensor")
    if len(data) != _byte_count(dtype, shape):
        raise ProtocolError(f"tensor of {len(data)} bytes does not hold {dtype} {shape}")
    return Tensor(dtype, tuple(shape), data)


def render_extension(tensor: Tensor | TensorFile) -> msgpack.ExtType:
    """The inverse of `parse_extension`."""
    kind, content = (TENSOR, tensor.data) if isinstance(tensor, Tensor) else (TENSOR_FILE, tensor.path)
    return msgpack.ExtType(kind, msgpack.packb([tensor.dtype, list(tensor.shape), content]))


def from_numpy(array: np.ndarray[Any, Any]) -> Tensor | TensorFile:
    """An array for the wire; one of more than 8 MiB is written to a file."""
    dtype = array.dtype.name
    if dtype not in ITEM_BYTES:
        raise TypeError(f"an array of {dtype} can't be sent, only {', '.join(ITEM_BYTES)}")
    data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    if len(data) <= LARGEST_INLINE:
        return Tensor(dtype, array.shape, data)
    return TensorFile(dtype, array.shape, _write_file(data))


def _write_file(data: bytes) -> str:
    import tempfile

    descriptor, path = tempfile.mkstemp(prefix="transfer-tensor-")
    _written.append(path)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    return path


def delete_unread_files() -> None:
    """Remove the tensor files of this process that their receiver never took."""
    for path in _written:
        with suppress(FileNotFoundError):
            os.unlink(path)


def _expect(content: Any, kind: type, what: str) -> Any:
    if not isinstance(content, kind):
        raise ProtocolError(f"{what} is {type(content).__name__}, expected {kind.__name__}")
    return content


def _byte_count(dtype: str, shape: list[int] | tuple[int, ...]) -> int:
    return ITEM_BYTES[dtype] * math.prod(shape)


def _to_numpy(data: bytes, dtype: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    import numpy as np

    little = np.frombuffer(data, dtype=np.dtype(dtype).newbyteorder("<")).reshape(shape)
    return little.astype(np.dtype(dtype), copy=True)

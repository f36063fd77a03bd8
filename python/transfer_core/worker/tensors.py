"""Arrays on the wire: extension type 1 carries the bytes, type 2 their offset in shared memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgpack

from transfer_core.runtime.errors import ProtocolError
from transfer_core.worker.decoded_size import check_decoded_size

if TYPE_CHECKING:
    import numpy as np

TENSOR = 1
TENSOR_BLOCK = 2
ITEM_BYTES = {"float32": 4, "float64": 8, "int64": 8, "uint8": 1}
MOST_DIMENSIONS = 32
# Bytes of memory for dtype, shape and the bytes object of a tensor; 32 dimensions take 1,568.
LARGEST_DESCRIPTION = 2000


@dataclass(frozen=True)
class Tensor:
    """An array in wire format: little-endian, row-major."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes | bytearray

    def to_numpy(self) -> np.ndarray[Any, Any]:
        """Writable array in native byte order; it shares the bytes if these are writable."""
        import numpy as np

        little = np.frombuffer(self.data, dtype=np.dtype(self.dtype).newbyteorder("<")).reshape(self.shape)
        return little.astype(np.dtype(self.dtype), copy=not little.flags.writeable)


@dataclass(frozen=True)
class TensorBlock:
    """An array whose bytes lie in the sender's shared memory, in the block at `offset`."""

    dtype: str
    shape: tuple[int, ...]
    offset: int


def parse_extension(kind: int, payload: bytes) -> Tensor | TensorBlock:
    """Parse a MessagePack extension value.

    Raises
    ------
    ProtocolError
        For another type than 1 and 2, or a payload that is not `[dtype, shape, bytes or offset]`.
    """
    if kind not in (TENSOR, TENSOR_BLOCK):
        raise ProtocolError(f"unknown extension type {kind}, expected 1 or 2")
    check_decoded_size(payload, LARGEST_DESCRIPTION)
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
    if len(shape) > MOST_DIMENSIONS:
        raise ProtocolError(f"a tensor of {len(shape)} dimensions, at most {MOST_DIMENSIONS} are allowed")
    if kind == TENSOR_BLOCK:
        if type(content) is not int or content < 0:
            raise ProtocolError(f"the offset of a tensor is {content!r:.40}, expected a non-negative integer")
        return TensorBlock(dtype, tuple(shape), content)
    if not isinstance(content, bytes):
        raise ProtocolError(f"the content of a tensor is {type(content).__name__}, expected bytes")
    if len(content) != byte_count(dtype, shape):
        raise ProtocolError(f"tensor of {len(content)} bytes does not hold {dtype} {shape}")
    return Tensor(dtype, tuple(shape), content)


def render_extension(tensor: Tensor | TensorBlock) -> msgpack.ExtType:
    """The inverse of `parse_extension`."""
    kind, content = (TENSOR, tensor.data) if isinstance(tensor, Tensor) else (TENSOR_BLOCK, tensor.offset)
    return msgpack.ExtType(kind, msgpack.packb([tensor.dtype, list(tensor.shape), content]))


def from_numpy(array: np.ndarray[Any, Any]) -> Tensor:
    """Convert an array to wire format."""
    dtype = array.dtype.name
    if dtype not in ITEM_BYTES:
        raise TypeError(f"an array of {dtype} can't be sent, only {', '.join(ITEM_BYTES)}")
    return Tensor(dtype, array.shape, to_wire_order(array).tobytes())


def to_wire_order(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Convert an array to little-endian and row-major order; no copy if it already is."""
    import numpy as np

    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")


def byte_count(dtype: str, shape: list[int] | tuple[int, ...]) -> int:
    """Size of a tensor in bytes."""
    return ITEM_BYTES[dtype] * math.prod(shape)

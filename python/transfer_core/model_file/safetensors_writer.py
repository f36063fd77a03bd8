"""Serialization to the safetensors format, in pieces: no copy of a tensor is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import msgspec
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]

# Type names of numpy and of the format.
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
ALIGNMENT = 8


def serialized(tensors: Mapping[str, Array], metadata: Mapping[str, str]) -> Iterator[bytes | memoryview]:
    """Yield the bytes of a safetensors file; the same for the same arguments, in any order.

    Parameters
    ----------
    tensors
        Name to row-major little-endian array of a type in `DTYPES`.
    """
    # Types with more bytes come first, so that every tensor is aligned to its type.
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].itemsize, item[0]))
    table: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name, array in ordered:
        begin, end = end, end + array.nbytes
        table[name] = {
            "dtype": DTYPES[array.dtype.name],
            "shape": array.shape,
            "data_offsets": (begin, end),
        }
    header = msgspec.json.encode(table)
    header += b" " * (-len(header) % ALIGNMENT)
    yield len(header).to_bytes(8, "little") + header
    for _, array in ordered:
        yield array.data if array.size else b""

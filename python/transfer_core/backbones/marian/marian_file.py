"""Read a model of Marian in its binary format (`.bin`): tensors, and the options that it was trained with.

Int8 weights (intgemm) are converted to float32. The file is untrusted: every number is checked before use.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from transfer_core.runtime.errors import ModelFileError

Array: TypeAlias = npt.NDArray[np.float32]

OPTIONS = "special:model.yml"
_VERSION = 1
_MOST_ITEMS, _MOST_DIMENSIONS, _LONGEST_NAME = 10_000, 8, 1000
_MOST_BYTES = 8 * 10**9
_FLOAT32, _FLOAT16, _INT8 = 0x404, 0x402, 0x101
_INTGEMM8 = (0x4101, 0x5101, 0x6101)
# Activation scales, which only int8 arithmetic needs.
_SCALES = "_QuantMultA"


class Item(NamedTuple):
    """A tensor in the file: its type, its shape, and the offset and number of its bytes."""

    type: int
    shape: tuple[int, ...]
    start: int
    bytes: int


def read_marian(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """Read tensors by Marian's names, and the options as text.

    Raises
    ------
    ModelFileError
        If the file is damaged, has another version, or types that are not supported.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ModelFileError(f"{path} is too large for a model of Marian")
        content = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{path} can't be read: {(error.strerror or str(error)).lower()}") from None
    try:
        items = _items(content)
        tensors = {
            name: _tensor(name, item, content)
            for name, item in items.items()
            if not name.endswith(_SCALES) and name != OPTIONS
        }
        options = items.get(OPTIONS)
        text = content[options.start : options.start + options.bytes] if options else b""
    except (struct.error, ValueError) as error:
        raise ModelFileError(f"{path} is not a model of Marian, or damaged: {error}") from None
    return tensors, dict(_options(text.rstrip(b"\0").decode("utf-8", "replace")))


def _items(content: bytes) -> dict[str, Item]:
    version, count = struct.unpack_from("<QQ", content)
    if version != _VERSION:
        raise ValueError(f"its version is {version}, expected {_VERSION}")
    if count > _MOST_ITEMS:
        raise ValueError(f"it has {count} tensors, expected at most {_MOST_ITEMS}")
    headers = [struct.unpack_from("<4Q", content, 16 + 32 * number) for number in range(count)]
    place = 16 + 32 * count
    names, shapes = [], []
    for length, _, dimensions, _ in headers:
        if length > _LONGEST_NAME or dimensions > _MOST_DIMENSIONS:
            raise ValueError(f"a name of {length} bytes or a shape of {dimensions} dimensions")
        names.append(content[place : place + length].rstrip(b"\0").decode("utf-8", "replace"))
        place += length
    for _, _, dimensions, _ in headers:
        shapes.append(struct.unpack_from(f"<{dimensions}i", content, place))
        place += 4 * dimensions
    (padding,) = struct.unpack_from("<Q", content, place)
    place += 8 + padding
    items = {}
    for name, shape, (_, type, _, size) in zip(names, shapes, headers, strict=True):
        if place + size > len(content):
            raise ValueError(f"{name} ends after the file")
        if any(side < 0 for side in shape):
            raise ValueError(f"{name} has the shape {shape}")
        items[name] = Item(type, shape, place, size)
        place += size
    return items


def _tensor(name: str, item: Item, content: bytes) -> Array:
    count = 1
    for side in item.shape:
        count *= side
    if item.type in _INTGEMM8:
        _check(name, item, count + 4)
        whole = np.frombuffer(content, np.int8, count, item.start).astype(np.float32)
        (multiplier,) = struct.unpack_from("<f", content, item.start + count)
        if not 1e-10 < multiplier < 1e10:
            raise ValueError(f"{name} has the scale {multiplier}")
        whole /= np.float32(multiplier)
        # Matrices are stored in the order in which they are multiplied, except for the embeddings.
        return whole.reshape(item.shape) if "Wemb" in name else whole.reshape(item.shape[::-1]).T
    if item.type not in (_FLOAT32, _FLOAT16):
        raise ValueError(f"{name} has the type {item.type:#x}, expected float32, float16 or intgemm8")
    dtype = np.dtype("<f4" if item.type == _FLOAT32 else "<f2")
    _check(name, item, count * dtype.itemsize)
    return np.frombuffer(content, dtype, count, item.start).astype(np.float32).reshape(item.shape)


def _check(name: str, item: Item, expected: int) -> None:
    if item.bytes < expected:
        raise ValueError(f"{name} has {item.bytes} bytes, expected {expected}")


def _options(text: str) -> Iterator[tuple[str, Any]]:
    """The scalar options of the YAML text, which Marian writes one per line."""
    for line in text.splitlines():
        name, separator, value = line.partition(":")
        if separator and name and not name.startswith((" ", "-", "#")):
            yield name.strip(), value.strip().strip('"')

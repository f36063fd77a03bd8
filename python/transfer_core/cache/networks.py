"""Files of arrays in the cache: converted graphs and tensors of backbones, each in a safetensors file.

A file is written atomically and holds a checksum of each array. A damaged one is deleted when it is read, and
made again.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias
from zlib import crc32

import numpy as np
import numpy.typing as npt

from transfer_core.cache.limit import cache_limit
from transfer_core.runtime import paths
from transfer_core.runtime.atomic import replacing
from transfer_core.runtime.errors import ConfigurationError
from transfer_core.runtime.permissions import FILE, exposure, make_directory

Array: TypeAlias = npt.NDArray[Any]

PART, SUFFIX = "networks", ".safetensors"
# Files larger than this share of the limit would leave too little room for others.
_LARGEST_SHARE = 0.25
_CHECKSUMS = "checksums"
# Time of last use is written at most this often.
_USE_NOTED_EVERY_S = 60


class StoredArrays:
    """An open file of arrays."""

    def __init__(self, path: Path) -> None:
        opened: Any = import_module("safetensors").safe_open  # imported late, and without types
        self._path = path
        self._file = opened(path, framework="numpy")
        self.metadata: dict[str, str] = dict(self._file.metadata() or {})
        self._checksums: dict[str, int] = json.loads(self.metadata.pop(_CHECKSUMS))
        self.names: list[str] = list(self._file.keys())

    def read(self, name: str) -> Array:
        """Read an array; raises `ValueError` if it is damaged, and deletes the file."""
        array: Array = self._file.get_tensor(name)
        if self._checksums.get(name) != _checksum(array):
            with suppress(OSError):
                self._path.unlink()
            raise ValueError(f"{self._path} is damaged")
        return array


def open_arrays(kind: str, key: str) -> StoredArrays | None:
    """Open the file of this kind (`graph`, `tensors`) and key; None if there is none, or it is damaged."""
    path = _place(kind, key)
    if not os.path.exists(path) or exposure(path):
        return None
    try:
        stored = StoredArrays(path)
        with suppress(OSError):
            if path.stat().st_mtime < time.time() - _USE_NOTED_EVERY_S:
                os.utime(path)
    except Exception:  # safetensors' errors, and those of a header that it accepts
        with suppress(OSError):
            path.unlink()
        return None
    return stored


def store_arrays(kind: str, key: str, arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Write arrays, unless they are too large, the disk is full, or another user could write to the cache."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    from transfer_core.cache.housekeeping import make_room

    if sum(array.nbytes for array in arrays.values()) > _LARGEST_SHARE * cache_limit():
        return
    checksums = json.dumps({name: _checksum(array) for name, array in arrays.items()})
    path = _place(kind, key)
    with suppress(OSError, SafetensorError, ConfigurationError):
        make_directory(path.parent)
        if not exposure(path):
            with replacing(path, FILE) as temporary:
                save_file(dict(arrays), temporary, {**metadata, _CHECKSUMS: checksums})
            make_room(cache_limit())


def is_intact(path: Path) -> bool:
    """Whether every array of a file is as it was written."""
    try:
        stored = StoredArrays(path)
        for name in stored.names:
            stored.read(name)
    except Exception:  # as in `open_arrays`
        return False
    return True


def _place(kind: str, key: str) -> Path:
    return paths.cache() / f"{PART}.{hashlib.sha256(key.encode()).hexdigest()[:32]}.{kind}{SUFFIX}"


def _checksum(array: Array) -> int:
    return crc32(np.ascontiguousarray(array).data.cast("B")) if array.size else 0

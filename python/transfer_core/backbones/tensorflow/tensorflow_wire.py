"""What goes to TensorFlow's process and back: lines of JSON, and arrays of float32 behind some of them."""

from __future__ import annotations

import json
from typing import IO, Any

import msgspec
import numpy as np

from transfer_core.backbones.image_arrays import Array

_LONGEST_LINE = 1 << 16


def send_words(file: IO[bytes], words: dict[str, Any]) -> None:
    """A line of JSON."""
    file.write(json.dumps(words).encode() + b"\n")
    file.flush()


def send_array(file: IO[bytes], array: Array) -> None:
    """The line `{"shape": [N, …]}` and the numbers, row-major."""
    file.write(json.dumps({"shape": array.shape}).encode() + b"\n")
    file.write(np.ascontiguousarray(array, np.float32).data.cast("B"))
    file.flush()


def read_words(file: IO[bytes]) -> dict[str, Any] | None:
    """The next line; None if the other end is gone.

    Raises
    ------
    ValueError
        For a line that is too long or no JSON object.
    """
    line = file.readline(_LONGEST_LINE)
    if len(line) == _LONGEST_LINE:
        raise ValueError(f"a line of more than {_LONGEST_LINE} bytes")
    if not line.endswith(b"\n"):
        return None
    return msgspec.json.decode(line, type=dict[str, Any])


def read_array(file: IO[bytes], shape: list[int]) -> Array | None:
    """The numbers that follow a line with their shape; None if the other end is gone before all have come."""
    array = np.empty(shape, np.float32)
    view, done = array.data.cast("B"), 0
    while done < len(view) and (count := file.readinto(view[done:])):  # type: ignore[attr-defined]
        done += count
    return array if done == len(view) else None

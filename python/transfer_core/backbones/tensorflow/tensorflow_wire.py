"""Protocol of the TensorFlow process: lines of JSON, some followed by an array of float32."""

from __future__ import annotations

import json
from typing import IO, Any

import msgspec
import numpy as np

from transfer_core.backbones.image_arrays import Array

_LONGEST_LINE = 1 << 16


def send_words(file: IO[bytes], words: dict[str, Any]) -> None:
    """Send a line of JSON."""
    file.write(json.dumps(words).encode() + b"\n")
    file.flush()


def send_array(file: IO[bytes], array: Array) -> None:
    """Send the line `{"shape": [N, …]}` and the numbers in row-major order."""
    file.write(json.dumps({"shape": array.shape}).encode() + b"\n")
    file.write(np.ascontiguousarray(array, np.float32).data.cast("B"))
    file.flush()


def read_words(file: IO[bytes]) -> dict[str, Any] | None:
    """Read the next line; None if the other end is closed.

    Raises
    ------
    ValueError
        For a line that is too long or not a JSON object.
    """
    line = file.readline(_LONGEST_LINE)
    if len(line) == _LONGEST_LINE:
        raise ValueError(f"a line of more than {_LONGEST_LINE} bytes")
    if not line.endswith(b"\n"):
        return None
    return msgspec.json.decode(line, type=dict[str, Any])


def read_array(file: IO[bytes], shape: list[int]) -> Array | None:
    """Read an array of this shape; None if the other end is closed before it is complete."""
    array = np.empty(shape, np.float32)
    view, done = array.data.cast("B"), 0
    while done < len(view) and (count := file.readinto(view[done:])):  # type: ignore[attr-defined]
        done += count
    return array if done == len(view) else None

"""Tensors of an ONNX file that are in other files, found in its bytes without the package onnx.

ONNX Runtime opens such files by itself when it loads a graph, and looks for them in the current folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from transfer_core.runtime.errors import DependencyError, ModelFileError

# By message of onnx.proto: the fields that lead to tensors, and the messages in them.
_LEADING = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Graph": {1: "Node", 5: "Tensor", 15: "Sparse"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "Sparse", 23: "Sparse"},
    "Sparse": {1: "Tensor", 2: "Tensor"},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
# Bytes of fields of other kinds; groups, which the format has not, are missing.
_FIXED = {1: 8, 5: 4}
# The limit of the format.
_MOST_BYTES = 2 << 30


@dataclass(frozen=True)
class TensorFile:
    """Where a tensor is: `length` bytes (None: the rest) of the file `location` beside the ONNX file."""

    location: str
    length: int | None


def read_whole(path: Path) -> bytes:
    """The ONNX file with the tensors in it that are in files beside it.

    Raises
    ------
    ModelFileError
        If a file beside it is missing or elsewhere, or all together exceed the 2 GB of the format.
    DependencyError
        If there are such files, but not the package that reads them.
    """
    content = path.read_bytes()
    outside = tensor_files(content, str(path))
    if not outside:
        return content
    try:
        import onnx
    except ImportError:
        raise DependencyError(f"{path}, whose weights are in other files,", "onnx", "onnx") from None
    if len(content) + sum(_size(path, file) for file in outside) > _MOST_BYTES:
        raise ModelFileError(f"{path}: it and its weights exceed the 2 GB of the format")
    try:
        whole: bytes = onnx.load(path).SerializeToString()
    except Exception as error:  # its own errors, protobuf's, the file system's
        raise ModelFileError(f"{path}: can't read its weights: {' '.join(str(error).split())}") from error
    return whole


def tensor_files(content: bytes, name: str) -> list[TensorFile]:
    """All tensors that are not in the ONNX file itself, in subgraphs and functions, too.

    Raises
    ------
    ModelFileError
        If it is no such file.
    """
    try:
        return list(_outside(memoryview(content)))
    except (ValueError, LookupError) as error:
        raise ModelFileError(f"{name} can't be loaded: it is no ONNX file, or damaged") from error


def _outside(content: memoryview) -> Iterator[TensorFile]:
    left = [("Model", content)]
    while left:
        kind, message = left.pop()
        if kind == "Tensor":
            yield from _of_tensor(message)
        else:
            leading = _LEADING[kind]
            left += [(leading[field], value) for field, value in _messages(message) if field in leading]


def _of_tensor(message: memoryview) -> Iterator[TensorFile]:
    fields = list(_fields(message))
    if any(field == _DATA_LOCATION and value for field, value in fields):
        pairs = [dict(_messages(value)) for field, value in _messages(message) if field == _EXTERNAL_DATA]
        said = {bytes(pair.get(1, b"")).decode(): bytes(pair.get(2, b"")).decode() for pair in pairs}
        length = int(said["length"]) if said.get("length") else None
        if length is not None and length < 0:
            raise ValueError
        yield TensorFile(said.get("location", ""), length)


def _messages(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The fields that have bytes: messages and texts."""
    for field, value in _fields(message):
        if isinstance(value, memoryview):
            yield field, value


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Numbers of a protobuf message's fields, each with its bytes or, if it has none, its number."""
    at = 0
    while at < len(message):
        tag, at = _number(message, at)
        kind = tag & 7
        if kind == 0:
            value, at = _number(message, at)
            yield tag >> 3, value
            continue
        length, at = _number(message, at) if kind == 2 else (_FIXED[kind], at)
        if length > len(message) - at:
            raise ValueError
        yield tag >> 3, message[at : at + length]
        at += length


def _number(message: memoryview, at: int) -> tuple[int, int]:
    """A number of variable length, and the place behind it."""
    number = shift = 0
    while shift < 70:
        byte = message[at]
        number |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return number, at
    raise ValueError


def _size(path: Path, file: TensorFile) -> int:
    place = path.parent.joinpath(file.location)
    if not place.resolve().is_relative_to(path.parent.resolve()):
        raise ModelFileError(f"{path}: its weights are in {file.location!r}, which points outside its folder")
    if not place.is_file():
        raise ModelFileError(f"{path}: can't read its weights: there is no file {place}")
    return file.length if file.length is not None else place.stat().st_size

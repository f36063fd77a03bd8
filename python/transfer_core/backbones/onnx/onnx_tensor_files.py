"""Find the external tensor files of an ONNX file in its bytes, without the package onnx.

ONNX Runtime opens such files by itself when it loads a graph, and searches the current directory for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from transfer_core.backbones.protobuf import fields
from transfer_core.runtime.errors import DependencyError, ModelFileError

# Per message of onnx.proto, the fields that lead to tensors, and the messages that they contain.
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
# The limit of the format.
_MOST_BYTES = 2 << 30


@dataclass(frozen=True)
class TensorFile:
    """An external tensor: `length` bytes (None: the rest) of the file `location` beside the ONNX file."""

    location: str
    length: int | None


def read_whole(path: Path) -> bytes:
    """Read an ONNX file, with the tensors of its external files put into it.

    Raises
    ------
    ModelFileError
        If an external file is missing or outside the directory, or all exceed the 2 GB of the format.
    DependencyError
        If there are external files and the package onnx is not installed.
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
        raise ModelFileError(f"{path} and its weights exceed the format's limit of 2 GB")
    try:
        whole: bytes = onnx.load(path).SerializeToString()
    except Exception as error:  # its own errors, protobuf's, the file system's
        raise ModelFileError(f"{path}: can't read its weights: {' '.join(str(error).split())}") from error
    return whole


def tensor_files(content: bytes, name: str) -> list[TensorFile]:
    """List the external tensors of an ONNX file, including those of subgraphs and functions.

    Raises
    ------
    ModelFileError
        If it is not an ONNX file, or damaged.
    """
    try:
        return list(_outside(memoryview(content)))
    except (ValueError, LookupError) as error:
        raise ModelFileError(f"{name} can't be loaded: it is not an ONNX file, or damaged") from error


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
    if any(field == _DATA_LOCATION and value for field, value in fields(message)):
        pairs = [dict(_messages(value)) for field, value in _messages(message) if field == _EXTERNAL_DATA]
        data = {bytes(pair.get(1, b"")).decode(): bytes(pair.get(2, b"")).decode() for pair in pairs}
        length = int(data["length"]) if data.get("length") else None
        if length is not None and length < 0:
            raise ValueError
        yield TensorFile(data.get("location", ""), length)


def _messages(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Fields of variable size: messages and texts."""
    for field, value in fields(message):
        if isinstance(value, memoryview):
            yield field, value


def _size(path: Path, file: TensorFile) -> int:
    place = path.parent.joinpath(file.location)
    if not place.resolve().is_relative_to(path.parent.resolve()):
        raise ModelFileError(f"{path}: its weights are in {file.location!r}, which points outside its folder")
    if not place.is_file():
        raise ModelFileError(f"{path}: can't read its weights: the file {place} does not exist")
    return file.length if file.length is not None else place.stat().st_size

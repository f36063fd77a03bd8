"""Write exported files."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from transfer_core.export.graph_of_model import Parts
from transfer_core.export.metadata import metadata_of, with_digest
from transfer_core.runtime.atomic import replacing, unfollowed
from transfer_core.runtime.errors import ConfigurationError

_LARGEST = 2**31 - 1
# Field `ir_version`, the first of a ModelProto.
_FIRST_BYTE = b"\x08"


def check_target(path: Path) -> None:
    """Raise `ConfigurationError` unless `path` is the name of a new file, or of an ONNX file."""
    if path.suffix.lower() != ".onnx":
        better = path.with_suffix(".onnx").name if path.name else "model.onnx"
        raise ConfigurationError(
            f"can't export to {path}: the name must end in .onnx. Fix: export to {better}"
        )
    if path.is_dir():
        raise ConfigurationError(f"can't export to {path}: it is a folder. Fix: add the name of a file")
    if not path.parent.is_dir():
        raise ConfigurationError(
            f"can't export to {path}: there is no folder {path.parent}. Fix: make it first"
        )
    with suppress(OSError), open(path, "rb") as file:
        if file.read(1) not in (_FIRST_BYTE, b""):
            raise ConfigurationError(
                f"can't export to {path}: this file has another format. Fix: delete it, or use another name"
            )


def serialized(
    model: Any,
    parts: Parts,
    precision: str,
    fields: Mapping[str, Any] | None = None,
    files: Mapping[str, str] | None = None,
) -> bytes:
    """The bytes of a file with its metadata.

    Parameters
    ----------
    model
        A ModelProto.
    parts, precision
        The model, and the precision of its network.
    fields
        More fields of the entry `transfer`.
    files
        More entries.

    Raises
    ------
    ConfigurationError
        If it would have more than 2 GB.
    """
    from onnx.helper import set_model_props

    set_model_props(model, metadata_of(parts, precision, fields or {}, files or {}))
    if (size := model.ByteSize()) > _LARGEST - 1000:
        raise ConfigurationError(
            f"{parts.header.backbone.name} can't be exported in {precision}: {size / 1e9:.1f} GB exceed the "
            "2 GB of an ONNX file. Try: precision float16 or int8"
        )
    return with_digest(model.SerializeToString())


def write(path: Path, content: bytes, mode: int | None) -> None:
    """Write a file in one step; raises `ConfigurationError` if that is not possible."""
    with replacing(path, mode) as temporary, open(temporary, "wb", opener=unfollowed) as file:
        file.write(content)

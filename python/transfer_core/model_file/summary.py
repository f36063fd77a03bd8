"""Summary of a saved model as plain data, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from transfer_core.model_file.header import ModelHeader
from transfer_core.runtime.errors import ModelFileError


def summarize(path: Path, header: ModelHeader) -> dict[str, Any]:
    """The model summary of `docs/reference/protocol.md`; raises `ModelFileError` if the file is gone."""
    return {
        "path": str(path),
        "task": header.task,
        "labels": list(header.labels),
        "backbone": header.backbone.name,
        "embedding_width": header.embedding_width,
        "modality": header.modality,
        "columns": list(header.columns),
        "metrics": header.metrics,
        "history": list(header.history),
        "recipe": header.recipe,
        "sizes": header.sizes,
        "data": msgspec.json.decode(msgspec.json.encode(header.data)) if header.data else {},
        "instance_weights": msgspec.to_builtins(header.instance_weights) if header.instance_weights else {},
        "warnings": list(header.warnings),
        "seconds": header.seconds,
        "created_at": header.created_at,
        "versions": header.versions,
        "bytes": _size(path),
    }


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError as error:
        raise ModelFileError(f"there is no file {path}") from error

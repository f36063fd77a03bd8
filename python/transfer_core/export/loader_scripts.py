"""Short scripts that predict with an exported file, written beside it."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path

from transfer_core.export.graph_of_model import Parts
from transfer_core.runtime.atomic import replacing, unfollowed
from transfer_core.runtime.errors import ConfigurationError, did_you_mean

_PLAIN = re.compile(r"[\w .-]+")
_ENDINGS = {"python": ".py", "ruby": ".rb", "browser": ".html"}


def check_loader(loader: str | None, path: Path, parts: Parts) -> None:
    """Raise `ConfigurationError` unless the script can be written beside `path`."""
    if loader is None:
        return
    if loader not in _ENDINGS:
        nearest = did_you_mean(loader, list(_ENDINGS))
        raise ConfigurationError(f'unknown loader "{loader}"{nearest} (one of: {", ".join(_ENDINGS)})')
    if loader == "browser" and _kind("python", parts) != "image":
        raise ConfigurationError(
            "the loader for browsers takes images of models with one label or value for each. "
            "Fix: use the loader python or ruby"
        )
    if not _PLAIN.fullmatch(path.name):
        raise ConfigurationError(
            f"can't write a loader for {path.name}: a script contains the name. "
            "Fix: use letters, digits, spaces, '.', '_' and '-'"
        )
    script = path.with_suffix(_ENDINGS[loader])
    if script.exists() and path.name not in script.read_text(errors="replace")[:300]:
        raise ConfigurationError(
            f"can't write the loader: {script} exists. Fix: rename it, or export elsewhere"
        )


def write_loader(loader: str, path: Path, parts: Parts, mode: int | None) -> Path:
    """Write the script for a file at `path`; returns its own path."""
    ending = _ENDINGS[loader]
    script = path.with_suffix(ending)
    template = files(__package__).joinpath("loaders", f"{_kind(loader, parts)}{ending}.txt").read_text()
    labels = json.dumps(parts.header.labels, ensure_ascii=False).replace("<", "\\u003c")
    words = {"MODEL.onnx": path.name, "SCRIPT": script.name, "LABELS": labels}
    for word, value in words.items():
        template = template.replace(word, value)
    with (
        replacing(script, mode) as temporary,
        open(temporary, "w", opener=unfollowed, encoding="utf-8") as file,
    ):
        file.write(template)
    return script


def _kind(loader: str, parts: Parts) -> str:
    modality = parts.backbone.facts.modality
    if loader == "ruby":
        return "any"
    if parts.header.task == "detection":
        return "boxes"
    if parts.backbone.facts.encoder_decoder:
        return "sequence"
    if modality == "text":
        return "terms" if parts.is_fitted else "tokens"
    return modality

"""Find code in a Keras model, which runs only with `trust`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from transfer_core.backbones.keras.keras_classes import computes
from transfer_core.backbones.keras.keras_graph import Config
from transfer_core.runtime.errors import Problem, RecipeError

# Classes of serialized Python functions.
_FUNCTIONS = ("Lambda", "__lambda__")
# Keras' own layers with side effects; without a module, a class is one of Keras' layers.
_NOT_ALONE = ("TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "StringLookup", "IntegerLookup")


def own_code(model: Config) -> list[str]:
    """The layers that are not on the allowlist of `keras_classes`, each with its kind."""
    return list(dict.fromkeys(_own_code(model, "the model")))


def check_trust(model: Config, title: str, trust: bool) -> None:
    """Raise `RecipeError` at `trust` if the model contains code that is not trusted."""
    if (found := own_code(model)) and not trust:
        message = (
            f"{title} contains code that would run: {', '.join(found)}. "
            "Fix: `trust: true` if you trust the source of the file"
        )
        raise RecipeError([Problem("trust", message)])


def _reaches_out(value: Config, kind: str) -> bool:
    if "module" not in value:
        return kind in (*_NOT_ALONE, "TextVectorization", "__typespec__")
    return not computes(str(value["module"]), kind)


def _own_code(value: Any, layer: str) -> Iterator[str]:
    if isinstance(value, list):
        for one in value:
            yield from _own_code(one, layer)
    if not isinstance(value, dict):
        return
    kind, config = value.get("class_name"), value.get("config")
    if "inbound_nodes" in value or "build_config" in value:
        layer = f"the layer {value.get('name') or (config or {}).get('name')}"
    if kind in _FUNCTIONS:
        yield f"{layer} (a Python function)"
    elif kind and _reaches_out(value, str(kind)):
        yield f"{layer} (the class {value.get('registered_name') or kind})"
    for name, inner in value.items():
        if name != "compile_config":
            yield from _own_code(inner, layer)

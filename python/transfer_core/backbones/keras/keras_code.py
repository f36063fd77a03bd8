"""What code a Keras model brings along: nothing of it runs unless the recipe trusts it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from transfer_core.backbones.keras.keras_classes import computes
from transfer_core.backbones.keras.keras_graph import Config
from transfer_core.runtime.errors import Problem, RecipeError

# A Python function inside the file, as Keras writes it.
_FUNCTIONS = ("Lambda", "__lambda__")
# Without a module, Keras looks among its own layers.
_NOT_ALONE = ("TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "StringLookup", "IntegerLookup")


def own_code(model: Config) -> list[str]:
    """The layers that are not on the list of `classes`, each with its kind."""
    return list(dict.fromkeys(_own_code(model, "the model")))


def check_trust(model: Config, title: str, trust: bool) -> None:
    """Raises `RecipeError` at `trust` if there is such code and it is not trusted."""
    if (found := own_code(model)) and not trust:
        message = (
            f"{title} brings code of its own, which would run: {', '.join(found)}; "
            "say `trust: true` if you know where the file is from"
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

"""Backbones: what is known about them, where their weights are, and the networks as named blocks.

Facts need no torch; `load`, `build`, `restore` and `Backbone` import it when they are first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from transfer_core.backbones.facts import (
    BackboneFacts,
    Preprocessing,
    WeightsFacts,
    all_facts,
    backbone_names,
    facts,
)

if TYPE_CHECKING:
    from transfer_core.backbones.backbone import Backbone, build, load, restore

__all__ = [
    "Backbone",
    "BackboneFacts",
    "Preprocessing",
    "WeightsFacts",
    "all_facts",
    "backbone_names",
    "build",
    "facts",
    "load",
    "restore",
]

_NEED_TORCH = ("Backbone", "build", "load", "restore")


def __getattr__(name: str) -> Any:
    if name in _NEED_TORCH:
        return getattr(import_module("transfer_core.backbones.backbone"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

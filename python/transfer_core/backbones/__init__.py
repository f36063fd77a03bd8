"""Pretrained backbones: their facts, their weights, and the networks as sequences of named blocks.

Facts need no torch; `Backbone` imports it on first access, and the functions when they are called.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from transfer_core.backbones.backbone_loading import build, facts, load, restore
from transfer_core.backbones.facts import BackboneFacts, Preprocessing, WeightsFacts
from transfer_core.backbones.torchvision.torchvision_published import all_facts, backbone_names

if TYPE_CHECKING:
    from transfer_core.backbones.backbone import Backbone

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


def __getattr__(name: str) -> Any:
    if name == "Backbone":
        return import_module("transfer_core.backbones.backbone").Backbone
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

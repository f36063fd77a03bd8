"""Table of torchvision's published models, readable without torchvision and torch."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import msgspec

from transfer_core.backbones.facts import BackboneFacts
from transfer_core.runtime.errors import Problem, RecipeError, did_you_mean

# Optional before a name.
PREFIX = "torchvision"


def published_facts(name: str) -> BackboneFacts:
    """Look up torchvision's backbone `name`, of a classification or detection model.

    Raises
    ------
    RecipeError
        At `backbone` for an unknown name, with the nearest one.

    Examples
    --------
    >>> published_facts("mobilenet_v2").embedding_width
    1280
    """
    known = _catalogue() | _detectors()
    name = name.removeprefix(f"{PREFIX}/")
    if name not in known:
        nearest = did_you_mean(name, list(known))
        message = f'unknown backbone "{name}"{nearest} (`transfer backbones` lists them)'
        raise RecipeError([Problem("backbone", message)])
    return known[name]


def all_facts() -> tuple[BackboneFacts, ...]:
    """The facts of all classification models, sorted by name."""
    return tuple(_catalogue().values())


def backbone_names() -> tuple[str, ...]:
    """The names of all classification models, sorted."""
    return tuple(_catalogue())


def detector_facts() -> tuple[BackboneFacts, ...]:
    """The facts of all detection models, sorted by name."""
    return tuple(_detectors().values())


def _catalogue() -> dict[str, BackboneFacts]:
    return _table("published.json")


def _detectors() -> dict[str, BackboneFacts]:
    return _table("detectors.json")


@cache
def _table(name: str) -> dict[str, BackboneFacts]:
    """Read a table that `scripts/build_backbone_facts.py` writes."""
    text = files("transfer_core.backbones.torchvision").joinpath(name).read_bytes()
    return {entry.name: entry for entry in msgspec.json.decode(text, type=list[BackboneFacts])}

"""What is known of timm's models without timm."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import msgspec


class ListedWeights(msgspec.Struct, frozen=True, omit_defaults=True):
    """One file of weights; `top1` and `top5` are timm's own measurements on ImageNet-1K's validation photos,
    in percent, with the size of images that they were trained with."""

    license: str = "unknown"
    noncommercial: bool = False
    trained_on: str = "unknown"
    top1: float | None = None
    top5: float | None = None
    paper: str = ""
    hub: str = ""
    url: str = ""
    origin: str = ""


class Listed(msgspec.Struct, frozen=True, omit_defaults=True):
    """One architecture; `weights` by their tags, timm's default first, of which `image_size` is."""

    name: str
    family: str
    paper: str
    arxiv: str
    parameters: int
    embedding_width: int
    image_size: int
    weights: dict[str, ListedWeights] = {}


def listed(architecture: str) -> Listed | None:
    """What the list has about an architecture; None for one that timm had not when the list was made."""
    return _by_name().get(architecture)


def all_listed() -> tuple[Listed, ...]:
    """Every architecture, by name."""
    return tuple(_by_name().values())


@cache
def _by_name() -> dict[str, Listed]:
    """`timm.json`, which `scripts/build_timm_facts.py` writes."""
    text = files("transfer_core.backbones").joinpath("timm.json").read_bytes()
    return {entry.name: entry for entry in msgspec.json.decode(text, type=list[Listed])}

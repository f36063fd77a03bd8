"""From a publisher's config.json to a network as named blocks, and from their tensors to its own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from torch import Tensor, nn

from transfer_core.backbones.representations import FeatureMap, TokenStates
from transfer_core.recipe.messages import shown
from transfer_core.runtime.errors import Problem, RecipeError

# Each `model_type`, and the module of this package that builds it.
_MODULES = {
    **dict.fromkeys(
        ("bert", "electra", "roberta", "xlm-roberta", "camembert", "distilbert", "mpnet", "deberta-v2"),
        "text_encoders",
    ),
    **dict.fromkeys(("vit", "dinov2"), "vision_transformers"),
    **dict.fromkeys(("convnext", "resnet"), "convolutional_networks"),
}

# Names that files from before 2020 have.
_RENAMED = (
    (re.compile(r"LayerNorm\.gamma$"), "LayerNorm.weight"),
    (re.compile(r"LayerNorm\.beta$"), "LayerNorm.bias"),
)


# Ten times as many as the largest published encoders have.
MOST_LAYERS = 1000


class NotKnown(Exception):
    """A config.json asks for something that is not known here; says what."""


@dataclass(frozen=True)
class Network:
    """A network with random weights.

    Parameters
    ----------
    published
        Our name of each part of the blocks, with the publisher's name of it; one of theirs may be several of
        ours.
    width
        Of the last block's output.
    positions
        The most tokens of a text; 0 for images.
    pool
        The pooling of the last block's output, for networks whose publishers all pool alike.
    feature_maps
        Of a convolutional network.
    """

    blocks: dict[str, nn.Module]
    published: dict[str, str]
    width: int
    positions: int = 0
    pool: nn.Module | None = None
    feature_maps: tuple[FeatureMap, ...] = ()

    @property
    def token_states(self) -> TokenStates | None:
        """The tokens that the last block gives; None for a convolutional network."""
        return None if self.feature_maps else TokenStates(list(self.blocks)[-1], self.width)


def build_network(name: str, config: Mapping[str, Any]) -> Network:
    """The network that the config.json of the backbone `name` describes.

    Raises
    ------
    RecipeError
        At `backbone`, for an architecture that is not known here.
    """
    kind = config.get("model_type")
    if kind not in _MODULES:
        known = ", ".join(_MODULES)
        message = f"{name} is of the architecture {kind or 'unknown'}, which can't be used (one of: {known})"
        raise RecipeError([Problem("backbone", message)])
    _check_layers(name, config)
    module = import_module(f"transfer_core.backbones.huggingface.{_MODULES[kind]}")
    with only_what_is_known(name):
        built: Network = module.network(config)
    return built


def _check_layers(name: str, config: Mapping[str, Any]) -> None:
    """A network is built layer by layer, before its tensors are looked at."""
    for word in ("num_hidden_layers", "n_layers", "depths"):
        said = config.get(word, 0)
        numbers = said if word == "depths" and isinstance(said, list) else [said]
        if not all(type(number) is int and number >= 0 for number in numbers) or sum(numbers) > MOST_LAYERS:
            message = f"{name} can't be used: {word} is {shown(said)}, expected at most {MOST_LAYERS} layers"
            raise RecipeError([Problem("backbone", message)])


@contextmanager
def only_what_is_known(name: str) -> Iterator[None]:
    """`NotKnown` within becomes a `RecipeError` at `backbone`."""
    try:
        yield
    except NotKnown as what:
        raise RecipeError([Problem("backbone", f"{name} can't be used: {what} is not known here")]) from None


def own_tensors(network: Network, tensors: Mapping[str, Tensor], kind: str) -> dict[str, Tensor]:
    """A publisher's tensors by the names that they have in a `Backbone`; what it lacks (a classifier) is left
    out."""
    theirs = {_plain(name, kind): tensor for name, tensor in tensors.items()}
    return {own: theirs[name] for own, name in tensor_names(network).items() if name in theirs}


def tensor_names(network: Network) -> dict[str, str]:
    """The name of each tensor in a `Backbone`, with the publisher's name of it."""
    own = nn.ModuleDict(network.blocks).state_dict()
    return {f"blocks.{name}": _published(name, network.published) for name in own}


def _published(name: str, published: Mapping[str, str]) -> str:
    """`layer_0.query.weight` -> `encoder.layer.0.attention.self.query.weight`."""
    part, rest = name, ""
    while part and part not in published:
        part, _, last = part.rpartition(".")
        rest = f".{last}{rest}"
    return published[part] + rest


def _plain(name: str, kind: str) -> str:
    """The name without that of a whole model with a classifier: `bert.`, `vit.`."""
    for old, new in _RENAMED:
        name = old.sub(new, name)
    return name.removeprefix(f"{_PREFIXES.get(kind, kind)}.")


_PREFIXES = {"xlm-roberta": "roberta", "camembert": "roberta", "deberta-v2": "deberta"}

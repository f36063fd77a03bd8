"""Build a network of named blocks from a publisher's config.json, and rename the publisher's tensors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from torch import Tensor, nn

from transfer_core.backbones.representations import FeatureMap, TokenStates
from transfer_core.recipe.messages import shown
from transfer_core.runtime.errors import Problem, RecipeError

# The module of this package that builds each `model_type`.
_MODULES = {
    **dict.fromkeys(
        ("bert", "electra", "roberta", "xlm-roberta", "camembert", "distilbert", "mpnet", "deberta-v2"),
        "text_encoders",
    ),
    **dict.fromkeys(("vit", "dinov2"), "vision_transformers"),
    **dict.fromkeys(("convnext", "resnet"), "convolutional_networks"),
    "yolos": "query_detectors",
    "detr": "detr",
    **dict.fromkeys(("rt_detr", "rt_detr_v2"), "rt_detr"),
}

# Names in files from before 2020.
_RENAMED = (
    (re.compile(r"LayerNorm\.gamma$"), "LayerNorm.weight"),
    (re.compile(r"LayerNorm\.beta$"), "LayerNorm.bias"),
)


# Ten times as many as the largest published encoders have.
MOST_LAYERS = 1000


class Unsupported(Exception):
    """A file of the model asks for a feature that is not implemented; the message names it."""


@dataclass(frozen=True)
class Network:
    """A network with random weights.

    Parameters
    ----------
    blocks
        Modules by name.
    published
        From our name of each part of the blocks to the publisher's; several of ours may have the same one.
    width
        Of the last block's output.
    positions
        Maximum number of tokens per text; 0 for images.
    pool
        The pooling of the last block's output, for networks whose publishers all pool alike.
    feature_maps
        Outputs of the stages of a convolutional network, or the queries of a detector.
    processor
        Defaults of preprocessor_config.json.
    """

    blocks: dict[str, nn.Module]
    published: dict[str, str]
    width: int
    positions: int = 0
    pool: nn.Module | None = None
    feature_maps: tuple[FeatureMap, ...] = ()
    processor: Mapping[str, Any] = field(default_factory=dict)

    @property
    def token_states(self) -> TokenStates | None:
        """The output of the last block as tokens; None for a convolutional network."""
        return None if self.feature_maps else TokenStates(list(self.blocks)[-1], self.width)


def build_network(name: str, config: Mapping[str, Any]) -> Network:
    """Build the network that a config.json describes.

    Parameters
    ----------
    name
        The backbone, for errors.
    config
        Content of config.json.

    Raises
    ------
    RecipeError
        At `backbone`, for an architecture or a feature that is not implemented.
    """
    kind = config.get("model_type")
    if kind not in _MODULES:
        known = ", ".join(_MODULES)
        message = f"{name} has the architecture {kind or 'unknown'}, which is not supported (one of: {known})"
        raise RecipeError([Problem("backbone", message)])
    _check_layers(name, config)
    module = import_module(f"transfer_core.backbones.huggingface.{_MODULES[kind]}")
    with supported_only(name):
        built: Network = module.network(config)
    return built


def _check_layers(name: str, config: Mapping[str, Any]) -> None:
    """Limit the number of layers, as the network is built before its tensors are checked."""
    if isinstance(config.get("backbone_config"), Mapping):
        _check_layers(name, config["backbone_config"])
    for word in ("num_hidden_layers", "n_layers", "encoder_layers", "decoder_layers", "depths"):
        value = config.get(word, 0)
        numbers = value if word == "depths" and isinstance(value, list) else [value]
        if not all(type(number) is int and number >= 0 for number in numbers) or sum(numbers) > MOST_LAYERS:
            message = f"{name} can't be used: {word} is {shown(value)}, expected at most {MOST_LAYERS} layers"
            raise RecipeError([Problem("backbone", message)])


@contextmanager
def supported_only(name: str) -> Iterator[None]:
    """Context that converts `Unsupported` to a `RecipeError` at `backbone`."""
    try:
        yield
    except Unsupported as feature:
        message = f"{name} can't be used: {feature} is not supported"
        raise RecipeError([Problem("backbone", message)]) from None


def own_tensors(network: Network, tensors: Mapping[str, Tensor], kind: str) -> dict[str, Tensor]:
    """Rename a publisher's tensors to their names in a `Backbone`, without surplus ones (a classifier).

    Parameters
    ----------
    network
        Defines the names.
    tensors
        By the publisher's names.
    kind
        The `model_type`, a possible prefix of the names.
    """
    theirs = {_plain(name, kind): tensor for name, tensor in tensors.items()}
    for name, tensor in list(theirs.items()):
        if name.endswith("mid_position_embeddings"):  # of all layers but the last
            theirs |= {f"encoder.mid_position_embeddings.{i}": part for i, part in enumerate(tensor)}
    return {own: theirs[name] for own, name in tensor_names(network).items() if name in theirs}


def tensor_names(network: Network) -> dict[str, str]:
    """Map the name of each tensor in a `Backbone` to the publisher's name."""
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
    """The name without the prefix in models with a classifier: `bert.`, `vit.`."""
    for old, new in _RENAMED:
        name = old.sub(new, name)
    return name.removeprefix(f"{_PREFIXES.get(kind, kind)}.")


_PREFIXES = {
    "xlm-roberta": "roberta",
    "camembert": "roberta",
    "deberta-v2": "deberta",
    "yolos": "vit",
    **dict.fromkeys(("detr", "rt_detr", "rt_detr_v2"), "model"),
}

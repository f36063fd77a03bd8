"""Describe, load and restore networks of images from PyTorch Hub."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import torch
from msgspec.structs import replace
from torch import Tensor, nn

from transfer_core.backbones.backbone import Backbone, filled
from transfer_core.backbones.block_outputs import describe_outputs
from transfer_core.backbones.facts import BackboneFacts, Preprocessing, WeightsFacts
from transfer_core.backbones.torch_hub.entry_point import entry_point, made
from transfer_core.backbones.torch_hub.repository_clone import Clone, check_trust, clone_named, fetch
from transfer_core.backbones.torch_hub.torch_hub_blocks import Parts, arrange
from transfer_core.backbones.torch_hub.torch_hub_preprocessing import preprocessing
from transfer_core.backbones.weights import is_path, own_file
from transfer_core.backbones.weights_reader import read_tensors
from transfer_core.model_file.format import tensors_digest
from transfer_core.runtime.errors import Problem, RecipeError, WeightsNotFound
from transfer_core.runtime.progress import Progress


def facts(name: str, trust: bool) -> BackboneFacts:
    """See `Loading`; runs the repository's code, as only the network itself has the names of its blocks."""
    clone = clone_named(name)
    check_trust(clone, trust)
    fetch(clone)
    changed = clone.hubconf.stat().st_mtime_ns if clone.hubconf.is_file() else 0
    return _facts(clone, changed)


def load(facts: BackboneFacts, weights: str, trust: bool, progress: Progress) -> Backbone:
    """See `Loading`; the repository's code draws the `random` weights."""
    clone = clone_named(facts.name)
    check_trust(clone, trust)
    fetch(clone)
    own = own_file(facts, weights) if is_path(weights) else None
    network, backbone = _network(clone, facts, "random" if own else weights)
    if own:
        backbone.weights, backbone.weights_digest = own.weights, own.digest
        return filled(backbone, network, read_tensors(own.path), str(own.path))
    if weights != "random":
        backbone.weights = replace(facts.default_weights, name=weights)
    backbone.weights_digest = tensors_digest(backbone.state_dict())
    return backbone.eval()


def restore(
    facts: BackboneFacts,
    tensors: Mapping[str, Tensor],
    weights: WeightsFacts | None,
    digest: str,
    trust: bool,
) -> Backbone:
    """See `Loading`. A saved model has no code: the repository is needed again, and must be trusted.

    Raises
    ------
    WeightsNotFound
        If there is no copy of the repository and it can't be downloaded.
    """
    clone = clone_named(facts.name)
    check_trust(clone, trust)
    try:
        fetch(clone)
    except WeightsNotFound as error:
        raise WeightsNotFound(f"a saved model has no code: {error}") from None
    network, backbone = _network(clone, facts, "random")
    backbone.weights, backbone.weights_digest = weights, digest
    return filled(backbone, network, tensors, "the saved model")


@lru_cache(maxsize=8)
def _facts(clone: Clone, changed: int) -> BackboneFacts:
    """Facts of the code as of its last change."""
    with entry_point(clone) as (entry, _):
        network = made(entry, clone, "random")
        parameters = _parameters(network)
        try:
            pixels = preprocessing(entry, network)
            blocks, pool = _arranged(network, pixels)
        except (ValueError, RuntimeError) as error:
            raise RecipeError([Problem("backbone", f"{clone.name} can't be used: {error}")]) from error
    with torch.no_grad():
        embedding = nn.Sequential(*blocks.values(), pool)(
            torch.zeros(1, 3, pixels.crop_size, pixels.crop_size)
        )
    maps, tokens = describe_outputs(blocks, pixels.crop_size)
    return BackboneFacts(
        name=clone.name,
        source="torch_hub",
        family=clone.model,
        paper="unknown",
        arxiv="",
        code_license="unknown",
        code_url=clone.url,
        embedding_width=embedding.shape[1],
        parameters=parameters,
        backbone_parameters=sum(map(_parameters, blocks.values())),
        default="pretrained",
        blocks=tuple(blocks),
        weights=(_published(pixels),),
        feature_maps=maps,
        token_states=tokens,
    )


def _network(clone: Clone, facts: BackboneFacts, weights: str) -> tuple[nn.Module, Backbone]:
    """The network of the entry point, and the backbone made of its modules."""
    pixels = facts.default_weights.preprocessing
    assert pixels
    with entry_point(clone) as (entry, code):
        network = made(entry, clone, weights)
        return network, Backbone(facts, *_arranged(network, pixels), code=code())


def _arranged(network: nn.Module, pixels: Preprocessing) -> Parts:
    return arrange(network, pixels.crop_size)


def _published(pixels: Preprocessing) -> WeightsFacts:
    """Facts of the weights that the repository's code downloads."""
    return WeightsFacts(name="pretrained", preprocessing=pixels, terms="see the repository")


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())

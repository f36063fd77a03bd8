"""The ways to get a backbone, whatever its source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from transfer_core.backbones.facts import BackboneFacts, WeightsFacts
from transfer_core.backbones.registry import source_of, sources
from transfer_core.runtime.errors import Problem, RecipeError
from transfer_core.runtime.progress import Progress

if TYPE_CHECKING:
    from torch import Tensor

    from transfer_core.backbones.backbone import Backbone


def facts(name: str, trust: bool = False) -> BackboneFacts:
    """Everything known about the backbone `name`; torchvision's need no torch.

    Raises
    ------
    RecipeError
        At `backbone`, with the nearest name; at `trust`, where its code would have to run.
    DependencyError
        If its source's library is not installed.
    WeightsNotFound
        If it is a file or a folder, or lies on a hub, and is not on this machine.
    """
    source = source_of(name)
    if source.published:
        return source.published(name)
    found = source.module().facts(name, trust)
    try:
        # A saved model must be able to hold them.
        return msgspec.convert(msgspec.to_builtins(found), BackboneFacts)
    except msgspec.ValidationError as error:
        raise RecipeError([Problem("backbone", f"{name} can't be used: {error}")]) from None


def load(
    name: str, weights: str = "pretrained", progress: Progress | None = None, trust: bool = False
) -> Backbone:
    """The backbone `name` with trained weights, in eval mode.

    Parameters
    ----------
    weights
        `pretrained`, the name of published weights (`IMAGENET1K_V1`), the path of a `.pth` or
        `.safetensors` file, or `random`.
    trust
        Whether code that comes with the backbone may run.

    Raises
    ------
    RecipeError
        For an unknown name of a backbone or of weights.
    WeightsNotFound
        With the places that were looked at.
    ModelFileError
        For a file that is damaged, altered, more than tensors, or of another architecture.
    DependencyError
        If its source's library is not installed.
    """
    known = facts(name, trust)
    progress = progress or Progress()
    backbone = sources()[known.source].module().load(known, weights, trust, progress)
    if backbone.weights and backbone.weights.noncommercial:
        terms = f"{backbone.weights.license}: no commercial use ({backbone.weights.license_url})"
        progress.warning(f"{name}'s weights {backbone.weights.name} are licensed {terms}")
    return backbone


def restore(
    facts: BackboneFacts,
    tensors: Mapping[str, Tensor],
    weights: WeightsFacts | None,
    digest: str,
    trust: bool = False,
) -> Backbone:
    """The backbone that `Backbone.state_dict()` was taken from, in eval mode.

    Raises
    ------
    ModelFileError
        If a tensor is missing or has another shape.
    RecipeError
        At `trust`, where code would have to run that is not in the file.
    """
    return sources()[facts.source].module().restore(facts, tensors, weights, digest, trust)


def build(name: str, seed: int = 0) -> Backbone:
    """torchvision's backbone `name` with random weights, the same for the same seed: for tests."""
    from transfer_core.backbones.torchvision import torchvision_loading

    return torchvision_loading.build(facts(name), seed)

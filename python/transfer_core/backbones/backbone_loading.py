"""Describe, load and restore backbones of any source."""

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
    """Describe the backbone `name`; torchvision's need no torch.

    Parameters
    ----------
    name
        As in a recipe: `resnet18`, `timm/resnet18`.
    trust
        Whether code that comes with the backbone may run.

    Raises
    ------
    RecipeError
        At `backbone` for an unknown name, with the nearest; at `trust` if its code would have to run.
    DependencyError
        If its source's library is not installed.
    WeightsNotFound
        If it is a file, a directory or a repository on a hub that is not on this machine.
    """
    source = source_of(name)
    if source.published:
        return source.published(name)
    found = source.module().facts(name, trust)
    try:
        # A saved model contains them, and is validated when it is read.
        return msgspec.convert(msgspec.to_builtins(found), BackboneFacts)
    except msgspec.ValidationError as error:
        raise RecipeError([Problem("backbone", f"{name} can't be used: {error}")]) from None


def load(
    name: str, weights: str = "pretrained", progress: Progress | None = None, trust: bool = False
) -> Backbone:
    """Load the backbone `name` with trained weights, in eval mode.

    Parameters
    ----------
    name
        As in a recipe: `resnet18`, `timm/resnet18`.
    weights
        `pretrained`, the name of published weights (`IMAGENET1K_V1`), the path of a `.pth` or
        `.safetensors` file, or `random`.
    progress
        Receives the progress of downloads, and warnings.
    trust
        Whether code that comes with the backbone may run.

    Raises
    ------
    RecipeError
        For an unknown name of a backbone or of weights; at `trust`.
    WeightsNotFound
        With the places that were searched.
    ModelFileError
        For a file that is damaged, altered, of another architecture, or contains more than tensors.
    DependencyError
        If its source's library is not installed.
    """
    known = facts(name, trust)
    progress = progress or Progress()
    backbone = sources()[known.source].module().load(known, weights, trust, progress)
    if backbone.weights and backbone.weights.noncommercial:
        terms = f"{backbone.weights.license}: no commercial use ({backbone.weights.license_url})"
        progress.warning(f"the weights {backbone.weights.name} of {name} are licensed {terms}")
    return backbone


def restore(
    facts: BackboneFacts,
    tensors: Mapping[str, Tensor],
    weights: WeightsFacts | None,
    digest: str,
    trust: bool = False,
) -> Backbone:
    """Restore the backbone that `Backbone.state_dict()` was taken from, in eval mode.

    Parameters
    ----------
    facts
        As they were when it was saved.
    tensors
        Its state dict.
    weights, digest
        The `weights` and `weights_digest` of the saved backbone.
    trust
        Whether code may run that is not in the saved model.

    Raises
    ------
    ModelFileError
        If a tensor is missing or has another shape.
    RecipeError
        At `trust` if such code would have to run.
    """
    return sources()[facts.source].module().restore(facts, tensors, weights, digest, trust)


def build(name: str, seed: int = 0) -> Backbone:
    """Make torchvision's backbone `name` with random weights, the same for the same seed; for tests."""
    from transfer_core.backbones.torchvision import torchvision_loading

    return torchvision_loading.build(facts(name), seed)

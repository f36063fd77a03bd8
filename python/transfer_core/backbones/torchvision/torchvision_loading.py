"""Describe, load and restore torchvision's classification and detection models."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from transfer_core.backbones.backbone import Backbone, OnlyShapes, filled
from transfer_core.backbones.facts import BackboneFacts, WeightsFacts
from transfer_core.backbones.torchvision.torchvision_blocks import arrange, create
from transfer_core.backbones.torchvision.torchvision_detectors import create_detector
from transfer_core.backbones.torchvision.torchvision_published import detector_facts, published_facts
from transfer_core.backbones.weights import find_weights
from transfer_core.backbones.weights_reader import read_tensors
from transfer_core.model_file.format import tensors_digest
from transfer_core.runtime.progress import Progress


def facts(name: str, trust: bool) -> BackboneFacts:
    """See `Loading`; needs no torchvision."""
    return published_facts(name)


def load(facts: BackboneFacts, weights: str, trust: bool, progress: Progress) -> Backbone:
    """See `Loading`."""
    if weights == "random":
        return build(facts)
    found = find_weights(facts, weights, progress)
    return _filled(facts, read_tensors(found.path), found.weights, found.digest, str(found.path))


def restore(
    facts: BackboneFacts,
    tensors: Mapping[str, Tensor],
    weights: WeightsFacts | None,
    digest: str,
    trust: bool,
) -> Backbone:
    """See `Loading`."""
    return _filled(facts, tensors, weights, digest, "the saved model")


def build(facts: BackboneFacts, seed: int = 0) -> Backbone:
    """Make the backbone with random weights, the same for the same seed, in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _create(facts, facts.default_weights)
    backbone = Backbone(facts, *arrange(model, facts.family))
    backbone.weights_digest = tensors_digest(backbone.state_dict())
    return backbone.eval()


def _filled(
    facts: BackboneFacts,
    tensors: Mapping[str, Tensor],
    weights: WeightsFacts | None,
    digest: str,
    origin: str,
) -> Backbone:
    with OnlyShapes():
        model = _create(facts, weights or facts.default_weights)
    backbone = Backbone(facts, *arrange(model, facts.family), weights, digest)
    return filled(backbone, model, tensors, origin)


def _create(facts: BackboneFacts, weights: WeightsFacts) -> nn.Module:
    assert weights.preprocessing
    if facts.family in {known.family for known in detector_facts()}:
        return create_detector(facts.name)
    return create(facts.name, facts.family, weights.preprocessing.crop_size)

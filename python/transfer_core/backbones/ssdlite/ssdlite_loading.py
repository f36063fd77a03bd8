"""Load SSDLite's MobileNetV2 from a frozen TensorFlow graph, of which only the constants are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from transfer_core.backbones.backbone import Backbone, OnlyShapes
from transfer_core.backbones.facts import BackboneFacts, WeightsFacts
from transfer_core.backbones.protobuf import fields
from transfer_core.backbones.ssdlite.ssdlite_source import FACTS
from transfer_core.backbones.torchvision.torchvision_blocks import Parts, arrange, create
from transfer_core.backbones.weights import find_weights
from transfer_core.backbones.weights_reader import fit
from transfer_core.model_file.format import tensors_digest
from transfer_core.runtime.errors import ModelFileError
from transfer_core.runtime.progress import Progress

_EPSILON = 1e-3
_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


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
    with OnlyShapes():
        backbone = Backbone(facts, *_parts(), found.weights, found.digest)
    backbone.load_state_dict(dict(_tensors(found.path, backbone)), assign=True)
    return backbone.eval()


def restore(
    facts: BackboneFacts,
    tensors: Mapping[str, Tensor],
    weights: WeightsFacts | None,
    digest: str,
    trust: bool,
) -> Backbone:
    """See `Loading`."""
    with OnlyShapes():
        backbone = Backbone(facts, *_parts(), weights, digest)
    names = {name: name for name in backbone.state_dict()}
    fitting = fit(backbone, names, tensors, f"the saved model does not fit {facts.name}")
    backbone.load_state_dict(fitting, assign=True)
    return backbone.eval()


def _random(facts: BackboneFacts) -> Backbone:
    """Random weights, always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = Backbone(facts, *_parts())
    backbone.weights_digest = tensors_digest(backbone.state_dict())
    return backbone.eval()


class _SamePadding(nn.Conv2d):
    """A convolution of stride 2 that pads as TensorFlow does: an even side only behind."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', ⌈H / 2⌉, ⌈W / 2⌉)."""
        bottom, right = 1, 1
        top, left = (side % 2 for side in x.shape[2:])
        return super().forward(functional.pad(x, (left, right, top, bottom)))


def _parts() -> Parts:
    """torchvision's MobileNetV2 with TensorFlow's padding and epsilon."""
    model = create("mobilenet_v2", "mobilenet_v2", 224)
    for layer in list(model.modules()):
        for name, child in layer.named_children():
            if isinstance(child, nn.BatchNorm2d):
                child.eps = _EPSILON
            elif isinstance(child, nn.Conv2d) and child.stride == (2, 2):
                widths = child.in_channels, child.out_channels
                setattr(layer, name, _SamePadding(*widths, 3, stride=2, groups=child.groups, bias=False))
    return arrange(model, "mobilenet_v2")


def _tensors(path: Path, backbone: Backbone) -> Iterator[tuple[str, Tensor]]:
    """The tensors of the file by the names of the backbone."""
    constants = dict(_constants(path.read_bytes()))
    layers = [(n, m) for n, m in backbone.named_modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d)]
    published = iter(_layers())
    for (name, layer), (norm_name, norm) in list(pairwise(layers))[::2]:
        theirs = f"FeatureExtractor/MobilenetV2/{next(published)}"
        is_depthwise = theirs.endswith("depthwise")
        kernel = constants[f"{theirs}/{'depthwise_' if is_depthwise else ''}weights"]
        shape: Any = layer.weight.shape  # (C', C, H, W); TensorFlow's is (H, W, C, C')
        values = kernel.reshape(*shape[2:], *(shape[:2] if is_depthwise else shape[1::-1]))
        order = (2, 3, 0, 1) if is_depthwise else (3, 2, 0, 1)
        yield f"{name}.weight", torch.from_numpy(values.transpose(order).copy())
        for ours, word in _NORM.items():
            yield f"{norm_name}.{ours}", torch.from_numpy(constants[f"{theirs}/BatchNorm/{word}"].copy())
        yield f"{norm_name}.num_batches_tracked", torch.tensor(0)
        assert isinstance(norm, nn.BatchNorm2d)


def _layers() -> Iterator[str]:
    """Published names of the convolutions, in the order of the blocks."""
    yield "Conv"
    for number in range(17):
        block = f"expanded_conv_{number}" if number else "expanded_conv"
        yield from (f"{block}/{part}" for part in ("expand", "depthwise", "project")[number == 0 :])
    yield "Conv_1"


def _constants(content: bytes) -> Iterator[tuple[str, np.ndarray[Any, np.dtype[np.float32]]]]:
    """Names and values of the constants with contents (tensorflow/core/framework/graph.proto)."""
    for number, node in fields(memoryview(content)):
        if number != 1:
            continue
        name, tensor = "", None
        for field, value in fields(node):
            if field == 1:
                name = bytes(value).decode()
            elif field == 5:
                entry = dict(fields(value))
                tensor = dict(fields(entry[2])).get(8) if bytes(entry[1]) == b"value" else tensor
        if tensor is not None and (values := dict(fields(tensor)).get(4)) and len(values) % 4 == 0:
            yield name, np.frombuffer(values, "<f4")

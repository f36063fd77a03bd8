"""RT-DETR and RT-DETRv2 (Zhao et al. 2024) as blocks: a ResNet-D, a pyramid, and a decoder of object queries.

Between blocks, the levels of the pyramid are one sequence of tokens, for square inputs whose side is a
multiple of 32: the side of each level follows from the length.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from transfer_core.backbones.huggingface.convolutional_networks import resnet
from transfer_core.backbones.huggingface.detr import Layer, layer_names
from transfer_core.backbones.huggingface.encoder_layers import draw
from transfer_core.backbones.huggingface.huggingface_network import Network, Unsupported
from transfer_core.backbones.huggingface.query_detectors import Mean
from transfer_core.backbones.representations import FeatureMap
from transfer_core.recipe.messages import shown
from transfer_core.runtime.errors import Problem, RecipeError

# Preprocessing of a repository without preprocessor_config.json.
_PROCESSOR = {"size": 640, "image_mean": [0.0] * 3, "image_std": [1.0] * 3}

_ACTIVATIONS: dict[str, type[nn.Module]] = {"gelu": nn.GELU, "relu": nn.ReLU, "silu": nn.SiLU}

# Values of config.json that every published network has.
_FIXED: dict[str, Any] = {
    "num_feature_levels": 3,
    "decoder_n_levels": 3,
    "feat_strides": [8, 16, 32],
    "decoder_method": "default",
    "normalize_before": False,
    "learn_initial_query": False,
    "eval_size": None,
    "anchor_image_size": None,
    "layer_norm_eps": 1e-5,
    "batch_norm_eps": 1e-5,
}
_LEVELS = 3
# Side of an anchor of the first level as a share of the image, and the margin without anchors.
_ANCHOR, _MARGIN = 0.05, 0.01
# Logit of the largest share that the decoder distinguishes from 1.
_MOST = math.log((1 - 1e-5) / 1e-5)


def network(config: Mapping[str, Any]) -> Network:
    """Build the network of a config.json with random weights: `stem`, `stage1_0` …, `pyramid`, `propose`,
    `decoder_0` ….

    The output of the last block is a map with one place per query: its state, and the logits of its box.
    """
    for word, expected in _FIXED.items():
        if config.get(word, expected) != expected:
            raise Unsupported(f"{word} {shown(config[word])} (expected {shown(expected)})")
    inner = config.get("backbone_config") or {"model_type": "rt_detr_resnet"}
    if inner.get("model_type") != "rt_detr_resnet" or inner.get("out_indices", [2, 3, 4]) != [2, 3, 4]:
        raise Unsupported("a backbone other than rt_detr_resnet with the maps of its stages 2 to 4")
    width, layers = config.get("d_model", 256), config.get("decoder_layers", 6)
    trunk = resnet(inner)
    in_pyramid = {name: block for name, block in trunk.blocks.items() if name[:6] in ("stage3", "stage4")}
    blocks = {name: block for name, block in trunk.blocks.items() if name not in in_pyramid}
    widths = [one.channels for one in trunk.feature_maps[1:]]
    blocks["pyramid"] = _Pyramid(config, in_pyramid, widths, width)
    blocks["propose"] = _Propose(config, width)
    blocks |= {f"decoder_{i}": _DecoderLayer(config, width, i == layers - 1) for i in range(layers)}
    for name in ("propose", *(f"decoder_{i}" for i in range(layers))):
        blocks[name].apply(partial(draw, deviation=config.get("initializer_range", 0.01)))
    names = dict(_published(config, layers))
    for ours, theirs in trunk.published.items():
        prefix = "pyramid.stages." if ours.split(".")[0] in in_pyramid else ""
        names[prefix + ours] = f"backbone.model.{theirs}"
    maps = (FeatureMap(f"decoder_{layers - 1}", 32, width + 4, queries=True),)
    return Network(blocks, names, width + 4, pool=Mean(), feature_maps=maps, processor=_PROCESSOR)


def _published(config: Mapping[str, Any], layers: int) -> Iterator[tuple[str, str]]:
    for part in ("lateral_convs", "fpn_blocks", "downsample_convs", "pan_blocks"):
        yield f"pyramid.{part}", f"encoder.{part}"
    for i in range(_LEVELS):
        for k, part in enumerate(("conv", "norm")):
            yield f"pyramid.inputs.{i}.{part}", f"encoder_input_proj.{i}.{k}"
            yield f"pyramid.outputs.{i}.{part}", f"decoder_input_proj.{i}.{k}"
    for i, level in enumerate(config.get("encode_proj_layers", [2])):
        for k in range(config.get("encoder_layers", 1)):
            yield from layer_names(f"pyramid.attend.{level}.{k}", f"encoder.encoder.{i}.layers.{k}")
    yield "propose.states", "enc_output"
    yield "propose.scores", "enc_score_head"
    yield from _dense_names("propose.boxes", "enc_bbox_head", 3)
    for i in range(layers):
        ours, theirs = f"decoder_{i}", f"decoder.layers.{i}"
        yield from layer_names(ours, theirs)
        for part in ("sampling_offsets", "attention_weights", "value_proj", "output_proj"):
            yield f"{ours}.memory.{part}", f"{theirs}.encoder_attn.{part}"
        # Each layer has its own copy of the one published network.
        yield from _dense_names(f"{ours}.positions", "decoder.query_pos_head", 2)
        yield from _dense_names(f"{ours}.boxes", f"decoder.bbox_embed.{i}", 3)


def _dense_names(ours: str, theirs: str, layers: int) -> Iterator[tuple[str, str]]:
    yield from ((f"{ours}.{2 * i}", f"{theirs}.layers.{i}") for i in range(layers))


class _Pyramid(nn.Module):
    """The last two stages, attention within levels, and a pyramid that is fused downwards and upwards."""

    def __init__(
        self, config: Mapping[str, Any], stages: Mapping[str, nn.Module], widths: Sequence[int], width: int
    ) -> None:
        super().__init__()
        inner = config.get("encoder_hidden_dim", 256)
        activation = _activation(config, "activation_function", "silu")
        conv, fuse = partial(_conv, activation=activation), partial(_Csp, config, inner, activation)
        self.stages = nn.ModuleDict(stages)
        self.inputs = nn.ModuleList(_conv(before, inner, 1) for before in widths)
        self.attend = nn.ModuleDict(
            {str(level): nn.ModuleList(self._attention(config, inner)) for level in _levels(config)}
        )
        self.lateral_convs = nn.ModuleList(conv(inner, inner, 1) for _ in range(_LEVELS - 1))
        self.fpn_blocks = nn.ModuleList(fuse() for _ in range(_LEVELS - 1))
        self.downsample_convs = nn.ModuleList(conv(inner, inner, 3, 2) for _ in range(_LEVELS - 1))
        self.pan_blocks = nn.ModuleList(fuse() for _ in range(_LEVELS - 1))
        self.outputs = nn.ModuleList(_conv(inner, width, 1) for _ in range(_LEVELS))
        self._temperature = config.get("positional_encoding_temperature", 10000)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, S / 8, S / 8) -> (N, L, D), the places of the three levels."""
        maps = [x]
        for stage in ("stage3", "stage4"):
            for name, block in self.stages.items():
                x = block(x) if name.startswith(stage) else x
            maps.append(x)
        maps = [convolution(x) for convolution, x in zip(self.inputs, maps, strict=True)]
        for level, layers in self.attend.items():
            maps[int(level)] = self._attended(maps[int(level)], layers)
        maps = [convolution(x) for convolution, x in zip(self.outputs, self._fused(maps), strict=True)]
        return torch.cat([x.flatten(2).transpose(1, 2) for x in maps], 1)

    def _attended(self, x: Tensor, layers: Any) -> Tensor:
        tokens, side = x.flatten(2).transpose(1, 2), x.shape[2]
        places = _positions(side, x.shape[1], self._temperature).to(tokens)
        for layer in layers:
            tokens = layer.finish(layer.attend(tokens, places))
        found: Tensor = tokens.transpose(1, 2).reshape(-1, x.shape[1], side, side)
        return found

    def _fused(self, maps: list[Tensor]) -> list[Tensor]:
        found = [maps[-1]]
        for lateral, block, finer in zip(self.lateral_convs, self.fpn_blocks, maps[-2::-1], strict=True):
            found[0] = lateral(found[0])
            found.insert(0, block(torch.cat((functional.interpolate(found[0], scale_factor=2.0), finer), 1)))
        for level, (down, block) in enumerate(zip(self.downsample_convs, self.pan_blocks, strict=True)):
            found[level + 1] = block(torch.cat((down(found[level]), found[level + 1]), 1))
        return found

    @staticmethod
    def _attention(config: Mapping[str, Any], inner: int) -> Iterator[nn.Module]:
        activation = _activation(config, "encoder_activation_function", "gelu")
        heads, dense = config.get("encoder_attention_heads", 8), config.get("encoder_ffn_dim", 1024)
        for _ in range(config.get("encoder_layers", 1)):
            yield Layer(inner, heads, dense, activation)


class _Csp(nn.Module):
    """Fuse two maps: a cross-stage partial block of three RepVGG blocks."""

    def __init__(self, config: Mapping[str, Any], width: int, activation: type[nn.Module]) -> None:
        super().__init__()
        inner = int(width * config.get("hidden_expansion", 1.0))
        self.conv1, self.conv2 = (_conv(2 * width, inner, 1, activation=activation) for _ in range(2))
        self.bottlenecks = nn.Sequential(*(_RepVgg(inner, activation) for _ in range(3)))
        self.conv3 = _conv(inner, width, 1, activation=activation) if inner != width else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, 2 C, S, S) -> (N, C, S, S)."""
        fused: Tensor = self.conv3(self.bottlenecks(self.conv1(x)) + self.conv2(x))
        return fused


class _RepVgg(nn.Module):
    """RepVGG block (Ding et al. 2021): a 3×3 and a 1×1 convolution side by side."""

    def __init__(self, width: int, activation: type[nn.Module]) -> None:
        super().__init__()
        self.conv1, self.conv2 = _conv(width, width, 3), _conv(width, width, 1)
        self.activation = activation()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, S, S) -> (N, C, S, S)."""
        added: Tensor = self.activation(self.conv1(x) + self.conv2(x))
        return added


class _Propose(nn.Module):
    """Select the places with the highest class scores as queries, and predict their first boxes."""

    def __init__(self, config: Mapping[str, Any], width: int) -> None:
        super().__init__()
        self.states = nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width))
        self.scores = _Scores(width, len(config.get("id2label") or (0, 1)))
        self.boxes = _dense(width, width, width, 4)
        self._count = _count(config)

    def forward(self, memory: Tensor) -> Tensor:
        """(N, L, D) -> (N, L + queries, D + 4): places and queries, the latter with the logits of boxes."""
        if memory.shape[1] < self._count:
            message = f"inputs of this size have {memory.shape[1]} places for {self._count} object queries"
            raise RecipeError([Problem("image_size", f"{message}. Fix: a larger image_size")])
        anchors, valid = (x.to(memory) for x in _anchors(_sides(memory.shape[1])))
        states = self.states(memory * valid)
        chosen = self.scores(states).amax(2).topk(self._count, dim=1).indices[..., None]
        boxes = (self.boxes(states) + anchors).gather(1, chosen.expand(-1, -1, 4))
        queries = states.gather(1, chosen.expand(-1, -1, states.shape[2]))
        return torch.cat((functional.pad(memory, (0, 4)), torch.cat((queries, boxes), 2)), 1)


class _Scores(nn.Module):
    """Class scores of places. Buffers, as a selection of the highest has no gradient."""

    weight: Tensor
    bias: Tensor

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("weight", 0.01 * torch.randn(classes, width))
        self.register_buffer("bias", torch.zeros(classes))

    def forward(self, states: Tensor) -> Tensor:
        """(N, L, D) -> (N, L, classes)."""
        return functional.linear(states, self.weight, self.bias)


class _DecoderLayer(Layer):
    """A layer over the queries, which stand behind the places; the last layer outputs the queries alone."""

    def __init__(self, config: Mapping[str, Any], width: int, is_last: bool) -> None:
        heads = config.get("decoder_attention_heads", 8)
        activation = _activation(config, "decoder_activation_function", "relu")
        super().__init__(width, heads, config.get("decoder_ffn_dim", 1024), activation)
        self.memory, self.memory_norm = _DeformableAttention(config, width, heads), nn.LayerNorm(width)
        self.positions, self.boxes = _dense(4, 2 * width, width), _dense(width, width, width, 4)
        self._count, self._is_last = _count(config), is_last

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, L + queries, D + 4) -> the same shape; the last layer: (N, D + 4, queries, 1)."""
        memory = tokens[:, : -self._count, :-4]
        queries, boxes = tokens[:, -self._count :].tensor_split((-4,), dim=2)
        boxes = boxes.clamp(-_MOST, _MOST)
        # As published, the next layers don't train the boxes that they sample around.
        shares = boxes.detach().sigmoid()
        places = self.positions(shares)
        queries = self.attend(queries, places)
        queries = self.memory_norm(queries + self.memory(queries + places, memory, shares))
        queries = self.finish(queries)
        found = torch.cat((queries, self.boxes(queries) + boxes), 2)
        if self._is_last:
            return found.transpose(1, 2)[..., None]
        return torch.cat((tokens[:, : -self._count], found), 1)


class _DeformableAttention(nn.Module):
    """Attention to a few sampled points in and around a box, on all levels (Zhu et al. 2021)."""

    def __init__(self, config: Mapping[str, Any], width: int, heads: int) -> None:
        super().__init__()
        points = config.get("decoder_n_points", 4)
        self.sampling_offsets = nn.Linear(width, heads * _LEVELS * points * 2)
        self.attention_weights = nn.Linear(width, heads * _LEVELS * points)
        self.value_proj, self.output_proj = nn.Linear(width, width), nn.Linear(width, width)
        self._shape = (heads, _LEVELS, points)
        self._scale = config.get("decoder_offset_scale", 0.5) / points

    def forward(self, queries: Tensor, memory: Tensor, boxes: Tensor) -> Tensor:
        """(N, Q, D), (N, L, D), boxes as shares (N, Q, 4) -> (N, Q, D)."""
        heads = self._shape[0]
        # (N · heads, Q, levels, points, …)
        offsets = self.sampling_offsets(queries).unflatten(2, (*self._shape, 2))
        centres, sizes = (part[:, :, None, None, None] for part in boxes.chunk(2, dim=2))
        points = (centres + offsets * sizes * self._scale).transpose(1, 2).flatten(0, 1)
        shares = self.attention_weights(queries).unflatten(2, (heads, -1)).softmax(3)
        shares = shares.unflatten(3, self._shape[1:]).transpose(1, 2).flatten(0, 1)
        values = self.value_proj(memory).unflatten(2, (heads, -1)).permute(0, 2, 3, 1).flatten(0, 1)
        sides = _sides(memory.shape[1])
        found = []
        for level, part in enumerate(values.split([side * side for side in sides], dim=2)):
            grid, side = 2 * points[:, :, level] - 1, sides[level]
            sampled = functional.grid_sample(
                part.view(-1, part.shape[1], side, side), grid.to(part.dtype), align_corners=False
            )  # (N · heads, d, Q, points)
            found.append((sampled * shares[:, None, :, level]).sum(3))
        mixed = torch.stack(found).sum(0).view(-1, queries.shape[2], queries.shape[1])
        return self.output_proj(mixed.transpose(1, 2))  # type: ignore[no-any-return]


def _sides(places: int) -> tuple[int, int, int]:
    """Sides of the three levels of a square input, whose places are 16, 4 and 1 parts of 21."""
    side = math.isqrt(places // 21)
    return 4 * side, 2 * side, side


def _anchors(sides: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Logits (L, 4) of a square around each place, and (L, 1) whether it is far enough from the edge."""
    levels = []
    for level, side in enumerate(sides):
        steps = (torch.arange(side) + 0.5) / side
        rows, columns = torch.meshgrid(steps, steps, indexing="ij")
        sizes = torch.full((side, side), _ANCHOR * 2**level)
        levels.append(torch.stack((columns, rows, sizes, sizes), 2).flatten(0, 1))
    shares = torch.cat(levels)
    valid = ((shares > _MARGIN) & (shares < 1 - _MARGIN)).all(1, keepdim=True)
    # Larger than any logit of a box, and still a number in half precision.
    return torch.where(valid, shares.logit(), torch.full((), 4 * _MOST)), valid


def _positions(side: int, width: int, temperature: float) -> Tensor:
    """Sines and cosines (S², D) of the rows and of the columns of a square map."""
    frequencies = temperature ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    angles = torch.arange(side, dtype=torch.float64)[:, None] * frequencies
    waves = torch.cat((angles.sin(), angles.cos()), 1)
    rows, columns = waves.repeat_interleave(side, 0), waves.repeat(side, 1)
    return torch.cat((rows, columns), 1)


def _conv(
    before: int, width: int, kernel: int, stride: int = 1, activation: type[nn.Module] = nn.Identity
) -> nn.Module:
    convolution = nn.Conv2d(before, width, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(OrderedDict(conv=convolution, norm=nn.BatchNorm2d(width), activation=activation()))


def _dense(*widths: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.ReLU(), nn.Linear(before, after)]
    return nn.Sequential(*layers[1:])


def _activation(config: Mapping[str, Any], word: str, default: str) -> type[nn.Module]:
    name = config.get(word, default)
    if name not in _ACTIVATIONS:
        raise Unsupported(f"{word} {shown(name)} (one of: {', '.join(_ACTIVATIONS)})")
    return _ACTIVATIONS[name]


def _levels(config: Mapping[str, Any]) -> Sequence[int]:
    levels: Sequence[int] = config.get("encode_proj_layers", [2])
    if not set(levels) <= set(range(_LEVELS)):
        raise Unsupported(f"encode_proj_layers {shown(levels)} (levels 0 to {_LEVELS - 1})")
    return levels


def _count(config: Mapping[str, Any]) -> int:
    return int(config.get("num_queries", 300))

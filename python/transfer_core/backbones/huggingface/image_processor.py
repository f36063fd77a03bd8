"""Read the preprocessing of a model of the hub from its preprocessor_config.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transfer_core.backbones.facts import Interpolation, Preprocessing
from transfer_core.backbones.huggingface.huggingface_network import Unsupported

# Pillow's number; any other interpolation is taken for bicubic.
_BILINEAR = 2

# ConvNeXt's processor crops this share of the shorter side of images below this size.
_CONVNEXT_SHARE, _CONVNEXT_WHOLE = 224 / 256, 384


def read_preprocessing(options: Mapping[str, Any], config: Mapping[str, Any]) -> Preprocessing:
    """Convert a preprocessor_config.json to our preprocessing.

    Parameters
    ----------
    options
        preprocessor_config.json; empty: the size of config.json and values from -1 to 1, transformers'
        defaults for a ViT.
    config
        config.json.

    Raises
    ------
    Unsupported
        For images that are not square.
    """
    default = config.get("image_size") or 224
    size = options.get("size", default)
    resize = _side(size) if options.get("do_resize", True) else default
    crop = _side(options.get("crop_size", resize)) if options.get("do_center_crop") else resize
    if config.get("model_type") == "convnext" and crop < _CONVNEXT_WHOLE:
        resize = int(crop / (options.get("crop_pct") or _CONVNEXT_SHARE))
    normalize = options.get("do_normalize", True)
    mean, std = (options.get(word, [0.5] * 3) if normalize else plain for word, plain in _PLAIN.items())
    interpolation: Interpolation = (
        "bilinear" if options.get("resample", _BILINEAR) == _BILINEAR else "bicubic"
    )
    # One number means both sides to a ViT's processor, and the shorter side to others.
    is_square = "height" in size if isinstance(size, Mapping) else config.get("model_type") == "vit"
    squash = resize == crop and is_square
    return Preprocessing(crop, max(crop, resize), interpolation, _three(mean), _three(std), squash)


_PLAIN = {"image_mean": [0.0] * 3, "image_std": [1.0] * 3}


def _side(size: Any) -> int:
    """`224`, `{"shortest_edge": 224}` or `{"height": 224, "width": 224}`."""
    if not isinstance(size, Mapping):
        return int(size)
    if size.get("height") != size.get("width"):
        raise Unsupported(f"an image of {size.get('width')} x {size.get('height')} pixels")
    return int(size.get("shortest_edge") or size["height"])


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = map(float, values)
    return red, green, blue

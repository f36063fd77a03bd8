"""Channel maps and attention of a trained model for one input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from transfer_core.data import Input
from transfer_core.explain.attention_maps import AttentionMaps, attention_maps
from transfer_core.explain.features import Features, channel_maps
from transfer_core.model.explaining import check_one
from transfer_core.model.restore import Misfit, use_of
from transfer_core.runtime.errors import Problem, RecipeError

if TYPE_CHECKING:
    from transfer_core.model.inference import Inference


def features(model: Inference, input: Input, block: str | None, most: int) -> Features:
    """The most active channels of a block; see `Model.features`."""
    check_one(model, input)
    if most < 1:
        raise RecipeError([Problem("most", f"expected 1 or more (got {most})")])
    if model.modality.name != "image":
        raise RecipeError(
            [Problem("input", f"channel maps are of images, this is a {model.modality.name} model")]
        )
    _check_torch(model)
    loaded = model.load(0, input, 1)
    pixels = getattr(loaded, "pixels", loaded)  # of a detector with the place of the photo
    with use_of(model.path):
        found = channel_maps(model.backbone.module(), pixels, block, most)
        _check_finite(found.maps)
    return found


def attention(model: Inference, input: Input) -> AttentionMaps:
    """The attention of all heads, and rolled out; see `Model.attention`."""
    import torch

    from transfer_core.explain.class_activation import image_tensor

    check_one(model, input)
    if model.task.needs != "pooled":
        reason = "attention maps are of classifiers and regressions"
        raise RecipeError([Problem("input", f'{reason}, this is a {model.task.name} model. Try: "explain"')])
    _check_torch(model)
    loaded = model.load(0, input, 1)
    extractor: Any = cast(Any, model.predictor).extractor
    reader = getattr(extractor, "reader", None)
    with use_of(model.path):
        backbone = model.backbone.module()
        if reader is not None:
            tokens, words = reader.words(loaded)
            names = [""] * len(tokens)
            for word, places in words:
                for place in places:
                    names[place] = word
            inputs, shown, image = torch.from_numpy(tokens)[None], tuple(names), None
        else:
            inputs, shown, image = image_tensor(loaded, backbone), None, loaded
        found = attention_maps(backbone, inputs, shown, image)
        _check_finite(found.heads)
    return found


def _check_torch(model: Inference) -> None:
    facts = model.backbone.facts
    if not facts.plain or facts.source == "scikit_learn" or facts.modality == "table":
        raise RecipeError(
            [Problem("backbone", f"{facts.name} is no network of PyTorch, whose layers can be read")]
        )


def _check_finite(numbers: np.ndarray[Any, Any]) -> None:
    if not np.isfinite(numbers).all():
        raise Misfit("its activations are not finite numbers")

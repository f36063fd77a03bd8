"""Representations of an input that a backbone provides and a task needs; no torch here."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from transfer_core.recipe.fields import Name

# `pooled`: one vector per input, (N, W), from `Backbone.forward`.
# `feature_maps`: convolutional maps, (N, C, H / stride, W / stride) each, from `Backbone.feature_maps`.
# `tokens`: one vector per token and a mask, (N, T, W) and (N, T), from `Backbone.token_states`.
# `encoder_decoder`: states of a source that a decoder attends to while it generates, from `EncoderDecoder`.
Representation: TypeAlias = Literal["pooled", "feature_maps", "tokens", "encoder_decoder"]

# Backbones to suggest if one lacks a representation that a task needs.
EXAMPLES: dict[Representation, tuple[str, ...]] = {
    "pooled": ("mobilenet_v2", "hf/sentence-transformers/all-MiniLM-L6-v2"),
    "feature_maps": ("mobilenet_v2", "resnet50", "timm/efficientnet_b0"),
    "tokens": ("vit_b_16", "timm/vit_tiny_patch16_224", "hf/sentence-transformers/all-MiniLM-L6-v2"),
    "encoder_decoder": ("hf/Helsinki-NLP/opus-mt-en-de", "hf/google-t5/t5-small", "marian/en-pt"),
}

Width: TypeAlias = Annotated[int, Meta(ge=1, le=1_000_000)]


class FeatureMap(msgspec.Struct, frozen=True):
    """The output of a block as a map of features.

    Parameters
    ----------
    block
        The block whose output it is: one of `BackboneFacts.blocks`.
    stride
        Pixels of the image per place of the map, in both directions.
    channels
        Numbers per place.
    channels_last
        Whether the block's output is (N, H, W, C); `Backbone.feature_maps` returns (N, C, H, W) in any case.
    level
        Place of the map if the block's output is a tuple of maps, such as the levels of a feature pyramid.
    queries
        Whether places are object queries instead of places of the image; the last four channels are the
        logits of a query's box.
    """

    block: Name
    stride: Annotated[int, Meta(ge=1, le=2048)]
    channels: Width
    channels_last: bool = False
    level: Annotated[int, Meta(ge=0, le=63)] | None = None
    queries: bool = False

    def of(self, output: Any) -> Any:
        """The map (N, C, H, W) in the output of the block."""
        found = output if self.level is None else output[self.level]
        return found.permute(0, 3, 1, 2) if self.channels_last else found


class TokenStates(msgspec.Struct, frozen=True):
    """The output of a block as one vector per token.

    Parameters
    ----------
    block
        The block whose output it is: one of `BackboneFacts.blocks`.
    width
        Numbers per token.
    """

    block: Name
    width: Width

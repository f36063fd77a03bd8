"""Facts of a backbone: architecture, published weights, preprocessing, representations. No torch here."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from transfer_core.backbones.representations import FeatureMap, Representation, TokenStates
from transfer_core.recipe.fields import Name, Some
from transfer_core.runtime.errors import Problem, RecipeError, did_you_mean

Interpolation = Literal["bilinear", "bicubic"]

# Facts also come from untrusted saved models: every number is bounded. The largest published image size is
# 1024 pixels; at 2048 a network takes gigabytes.
Pixels: TypeAlias = Annotated[int, Meta(ge=1, le=2048)]
Resized: TypeAlias = Annotated[int, Meta(ge=1, le=4096)]
Mean: TypeAlias = Annotated[float, Meta(ge=-1e6, le=1e6)]
Deviation: TypeAlias = Annotated[float, Meta(ge=1e-6, le=1e6)]
Amount: TypeAlias = Annotated[int, Meta(ge=0, le=2**53)]
MOST_WIDTH = 10_000_000


class Preprocessing(msgspec.Struct, frozen=True):
    """Preprocessing of an image to a tensor (3, crop_size, crop_size), as for the published accuracy.

    The shorter side is resized to `resize_size` pixels, a square of `crop_size` pixels is cut from the
    centre, values are scaled to 0..1 and normalized to (value - mean) / std per channel (red, green, blue).
    With `squash` both sides are resized to `resize_size`, whatever the aspect ratio.
    """

    crop_size: Pixels
    resize_size: Resized
    interpolation: Interpolation
    mean: tuple[Mean, Mean, Mean]
    std: tuple[Deviation, Deviation, Deviation]
    squash: bool = False


class WeightsFacts(msgspec.Struct, frozen=True):
    """One file of trained weights; defaults mean unknown.

    Parameters
    ----------
    name
        `IMAGENET1K_V1`, or the path of the user's own file.
    file, url
        Name of the file and its address; empty: not published as a file.
    sha256
        The first hexadecimal digits, as in the published file name; empty: not published.
    bytes
        Size of the file, exact to 1 KiB; 0: unknown.
    top1, top5
        Published accuracy on the validation images of ImageNet-1K, in percent.
    box_ap
        Published average precision of boxes on COCO val2017, in percent.
    preprocessing
        None unless inputs are images.
    license, license_url
        SPDX name of the license where it has one, and its text.
    trained_on, terms
        The training data, and its owners' terms of use. Users must check whether these terms bind them.
    recipe
        Address of the training recipe.
    hub
        Repository on the Hugging Face hub: `timm/resnet18.a1_in1k`; empty: none known.
    """

    name: Name
    file: str = ""
    url: str = ""
    sha256: str = ""
    bytes: Amount = 0
    top1: float | None = None
    top5: float | None = None
    box_ap: float | None = None
    preprocessing: Preprocessing | None = None
    license: str = "unknown"
    license_url: str = ""
    trained_on: str = "unknown"
    terms: str = ""
    recipe: str | None = None
    hub: str = ""

    @property
    def noncommercial(self) -> bool:
        """Whether the license forbids commercial use."""
        return forbids_commerce(self.license)


class BackboneFacts(msgspec.Struct, frozen=True):
    """One architecture and the weights that are published for it.

    Parameters
    ----------
    source
        The name of its source (`registry.Source`).
    family
        Architecture family: `resnet`.
    paper, arxiv
        Title and arXiv id of the paper; empty: unknown.
    code_license, code_url
        License and address of the code.
    embedding_width
        Numbers per embedding.
    parameters
        Number of parameters of the published model, with its classifier.
    backbone_parameters
        Number of parameters of the blocks, which can be frozen and fine-tuned.
    default
        The name of the preferred weights.
    blocks
        The names that `freeze` and `unfreeze` accept, from the input to the embedding.
    weights
        The published weights.
    modality
        Kind of input.
    trainable
        False for networks that can't be fine-tuned: they are always frozen.
    plain
        Whether its layers are torch's own, which may be fused and run in reduced precision.
    max_length, positions
        The publisher's limit of tokens per text, and the largest possible one; None unless inputs are texts.
    feature_maps
        The maps that `Backbone.feature_maps` returns, from the smallest stride to the largest; empty if it
        has none.
    token_states
        The tokens that `Backbone.token_states` returns; None if it has none.
    encoder_decoder
        Whether it generates texts (`EncoderDecoder`); then it has no other representation.
    languages
        Codes of the languages that a recipe must choose from; empty if it has a single pair or none.
    """

    name: Name
    source: Name
    family: str
    paper: str
    arxiv: str
    code_license: str
    code_url: str
    embedding_width: Annotated[int, Meta(ge=0, le=MOST_WIDTH)]
    parameters: Amount
    backbone_parameters: Amount
    default: str
    blocks: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=100_000)]
    weights: Annotated[tuple[WeightsFacts, ...], Meta(min_length=1, max_length=10_000)]
    modality: Literal["image", "text", "table"] = "image"
    trainable: bool = True
    plain: bool = True
    max_length: Some | None = None
    positions: Some | None = None
    feature_maps: Annotated[tuple[FeatureMap, ...], Meta(max_length=64)] = ()
    token_states: TokenStates | None = None
    encoder_decoder: bool = False
    languages: Annotated[tuple[Name, ...], Meta(max_length=10_000)] = ()

    @property
    def gives(self) -> frozenset[Representation]:
        """The representations that the backbone provides, to be matched with a task's `needs`."""
        if self.encoder_decoder:
            return frozenset({"encoder_decoder"})
        optional: dict[Representation, bool] = {
            "feature_maps": bool(self.feature_maps),
            "tokens": self.token_states is not None,
        }
        return frozenset({"pooled", *(name for name, provided in optional.items() if provided)})

    @property
    def default_weights(self) -> WeightsFacts:
        """The preferred weights: the publisher's, unless they alone forbid commercial use."""
        return self.published(self.default)

    def published(self, name: str) -> WeightsFacts:
        """Find published weights by name.

        Raises
        ------
        RecipeError
            At `weights` for an unknown name, with the known ones.
        """
        known = {weights.name: weights for weights in self.weights}
        if name in known:
            return known[name]
        nearest = did_you_mean(name, [*known, "pretrained", "random"])
        choices = ", ".join(["pretrained", "random", *known])
        message = f'unknown weights "{name}" for {self.name}{nearest} (one of: {choices}, or a path)'
        raise RecipeError([Problem("weights", message)])


def identity_of(facts: BackboneFacts, blocks: int, weights_digest: str, code: str) -> str:
    """Identifier of everything but the input that embeddings depend on: blocks, weights, code."""
    return f"{facts.name}[:{blocks}] {weights_digest} {code}"


def forbids_commerce(license: str) -> bool:
    """Whether a license forbids commercial use, judged by its name."""
    return "NC" in license.split("-") or license in ("apple-amlr", "fair-noncommercial-research-license")

"""What is known about every backbone before it is built: torch is not needed to read it."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from transfer_core.backbones.representations import FeatureMap, Representation, TokenStates
from transfer_core.recipe.schema import Name, Some
from transfer_core.runtime.errors import Problem, RecipeError, did_you_mean

Interpolation = Literal["bilinear", "bicubic"]

# Facts also come from saved models of others: no number in them may take time or memory without bounds.
# The largest published images have sides of 1024 pixels; a network of one with 2048 takes gigabytes already.
Pixels: TypeAlias = Annotated[int, Meta(ge=1, le=2048)]
Resized: TypeAlias = Annotated[int, Meta(ge=1, le=4096)]
Mean: TypeAlias = Annotated[float, Meta(ge=-1e6, le=1e6)]
Deviation: TypeAlias = Annotated[float, Meta(ge=1e-6, le=1e6)]
Amount: TypeAlias = Annotated[int, Meta(ge=0, le=2**53)]
MOST_WIDTH = 10_000_000


class Preprocessing(msgspec.Struct, frozen=True):
    """How a photo becomes the tensor (3, crop_size, crop_size) that the published weights were measured with.

    The shorter side is resized to `resize_size` pixels, the centre of `crop_size` pixels is cut out, values
    are scaled to 0..1, `mean` is subtracted and `std` divided by, one number per channel (red, green, blue).
    With `squash` both sides become `resize_size`, whatever they were.
    """

    crop_size: Pixels
    resize_size: Resized
    interpolation: Interpolation
    mean: tuple[Mean, Mean, Mean]
    std: tuple[Deviation, Deviation, Deviation]
    squash: bool = False


class WeightsFacts(msgspec.Struct, frozen=True):
    """One file of trained weights; the defaults say that nothing is known.

    Parameters
    ----------
    name
        `IMAGENET1K_V1`, or the path of a file of the user's own.
    sha256
        The first hexadecimal digits, as the publisher gives them in the file's name; empty: not published.
    bytes
        Size of the file, within 1 KiB of the truth; 0: unknown.
    top1, top5
        Accuracy on ImageNet-1K's validation photos in percent, as the publisher measured it.
    preprocessing
        None where inputs are no images.
    hub
        Where they are on the Hugging Face hub: `timm/resnet18.a1_in1k`; empty: nowhere that we know of.
    trained_on, terms
        The training photos, and what their owners say about use. Whether these terms bind a user of the
        weights is for the user to check.
    """

    name: Name
    file: str = ""
    url: str = ""
    sha256: str = ""
    bytes: Amount = 0
    top1: float | None = None
    top5: float | None = None
    preprocessing: Preprocessing | None = None
    license: str = "unknown"
    license_url: str = ""
    trained_on: str = "unknown"
    terms: str = ""
    recipe: str | None = None
    hub: str = ""

    @property
    def noncommercial(self) -> bool:
        """True if the licence forbids commercial use."""
        return forbids_commerce(self.license)


class BackboneFacts(msgspec.Struct, frozen=True):
    """One architecture and the weights that are published for it.

    Parameters
    ----------
    source
        The name of its source (`registry.Source`).
    parameters
        Of the published model, with its classifier.
    backbone_parameters
        Of the blocks alone: what can be frozen and fine-tuned.
    embedding_width
        Numbers per photo that the backbone hands to the head.
    blocks
        The names that `freeze` and `unfreeze` take, from the photo to the embedding.
    default
        The name of the preferred weights.
    modality
        What goes in.
    trainable
        False for what can only be used as it is: it is always frozen.
    plain
        Whether it is made of torch's own layers, which may be joined and rounded for speed.
    max_length, positions
        The publisher's limit of tokens per text, and the largest possible one; None unless inputs are texts.
    feature_maps
        The maps that `Backbone.feature_maps` returns, from the smallest stride to the largest; empty if it
        has none.
    token_states
        The tokens that `Backbone.token_states` returns; None if it has none.
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

    @property
    def gives(self) -> frozenset[Representation]:
        """The representations that the backbone provides: what a task's `needs` is matched with."""
        optional: dict[Representation, bool] = {
            "feature_maps": bool(self.feature_maps),
            "tokens": self.token_states is not None,
        }
        return frozenset({"pooled", *(name for name, provided in optional.items() if provided)})

    @property
    def default_weights(self) -> WeightsFacts:
        """The preferred weights: the publisher's choice, unless only that one forbids commercial use."""
        return self.published(self.default)

    def published(self, name: str) -> WeightsFacts:
        """The published weights of that name.

        Raises
        ------
        RecipeError
            At `weights`, with the names that exist.
        """
        known = {weights.name: weights for weights in self.weights}
        if name in known:
            return known[name]
        nearest = did_you_mean(name, [*known, "pretrained", "random"])
        choices = ", ".join(["pretrained", "random", *known])
        message = f'unknown weights "{name}" for {self.name}{nearest} (one of: {choices}, or a path)'
        raise RecipeError([Problem("weights", message)])


def forbids_commerce(license: str) -> bool:
    """True of a licence that forbids commercial use, as far as its name says so."""
    return "NC" in license.split("-") or license in ("apple-amlr", "fair-noncommercial-research-license")

"""Networks that are not torch's own, each as the only block of a backbone: frozen, and run as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeAlias

import msgspec
import torch
from msgspec import Meta
from torch import Tensor, nn

from transfer_core.backbones.backbone import Backbone
from transfer_core.backbones.facts import (
    BackboneFacts,
    Interpolation,
    Pixels,
    Preprocessing,
    Resized,
    WeightsFacts,
)
from transfer_core.backbones.image_arrays import Run
from transfer_core.backbones.untrusted import LARGEST_WIDTH
from transfer_core.runtime.errors import ModelFileError, Problem, RecipeError

Files: TypeAlias = Mapping[str, bytes]
Color: TypeAlias = tuple[float, float, float]
Positive: TypeAlias = Annotated[float, Meta(gt=0)]
Width: TypeAlias = Annotated[int, Meta(ge=1, le=LARGEST_WIDTH)]

# What is called its weights: there are no others.
WEIGHTS = "saved"

# The side of images where the network takes any, and the share of a photo's shorter side that is cut out, as
# it is when networks for ImageNet are measured.
USUAL_SIZE, CENTRE = 224, 0.875


class Foreign(nn.Module):
    """(N, 3, H, W) -> (N, D), float32, by `run`, which takes and gives arrays of these shapes.

    There is only one of it: a copy would be one more session, or process.
    """

    run: Run

    def forward(self, images: Tensor) -> Tensor:
        """On the CPU, whatever device the images are on."""
        return torch.from_numpy(self.run(images.cpu().numpy())).to(images.device)

    def __deepcopy__(self, memo: object) -> Foreign:
        return self


class Interface(msgspec.Struct, frozen=True):
    """Input and output of a network: images of `size` pixels (None: any), as levels from 0 to 255 or as real
    numbers; embeddings of `width` numbers."""

    size: Pixels | None
    levels: bool
    width: Width


class Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a network's file says of its images; None: nothing.

    Photos are resized to `resize` pixels, the centre of `size` pixels is cut out, and values from 0 to 1
    become (value - mean) / std.
    """

    size: Pixels | None = None
    resize: Resized | None = None
    mean: Color | None = None
    std: tuple[Positive, Positive, Positive] | None = None
    interpolation: Interpolation | None = None


def preprocessing(said: Said, interface: Interface, mean: Color, std: Color, origin: str) -> Preprocessing:
    """What images must go through: what is said, or else the usual, with this `mean` and `std`.

    Raises
    ------
    ModelFileError
        If what is said contradicts itself or what the network takes.
    """
    size = interface.size or said.size or USUAL_SIZE
    resize = said.resize or round(size / CENTRE)
    if interface.levels and (said.mean or said.std):
        raise ModelFileError(f"{origin} takes levels from 0 to 255 as they are, but says mean or std")
    if interface.levels:
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if said.size not in (None, size):
        raise ModelFileError(f"{origin} says size {said.size}, but takes only images of {size} pixels")
    if resize < size:
        raise ModelFileError(f"{origin} says resize {resize}, which is less than its size, {size}")
    return Preprocessing(size, resize, said.interpolation or "bilinear", said.mean or mean, said.std or std)


def foreign_facts(
    name: str,
    source: str,
    family: str,
    block: str,
    width: int,
    preprocessing: Preprocessing,
    url: str = "",
    bytes: int = 0,
) -> BackboneFacts:
    """What is known of a network of unknown make that gives `width` numbers per image."""
    weights = WeightsFacts(
        name=WEIGHTS,
        url=url,
        bytes=bytes,
        preprocessing=preprocessing,
        terms="ask whoever published it",
    )
    return BackboneFacts(
        name=name,
        source=source,
        family=family,
        paper="",
        arxiv="",
        code_license="unknown",
        code_url=url,
        embedding_width=width,
        parameters=0,
        backbone_parameters=0,
        default=WEIGHTS,
        blocks=(block,),
        weights=(weights,),
        trainable=False,
        plain=False,
    )


def check_weights(facts: BackboneFacts, weights: str) -> None:
    """Raise `RecipeError` for any weights but its own."""
    if weights not in ("pretrained", WEIGHTS):
        message = f"{facts.name} has only the weights that it was saved with: leave it out (got {weights})"
        raise RecipeError([Problem("weights", message)])


def foreign_backbone(
    facts: BackboneFacts,
    files: Files,
    weights: WeightsFacts | None,
    digest: str,
    runner: Callable[[Callable[[], Files]], Run],
) -> Backbone:
    """The backbone of one block that runs what is in `files`, which are its assets.

    Parameters
    ----------
    runner
        Gives what runs the network; it is handed what gives the files, so that they are in memory once.
    """
    block = Foreign()
    backbone = Backbone(facts, {facts.blocks[0]: block}, nn.Identity(), weights, digest, files)
    block.run = runner(backbone.assets.files)
    return backbone.eval()


def said_in(words: Mapping[str, Any], origin: str) -> Said:
    """Raises `ModelFileError` for a word or a value that is not one of `Said`."""
    try:
        return msgspec.convert(words, Said, strict=False)
    except msgspec.ValidationError as error:
        raise ModelFileError(f"{origin} says wrongly how its images are prepared: {error}") from None

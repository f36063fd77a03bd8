"""Networks of other runtimes (ONNX Runtime, TensorFlow), each as the only, frozen block of a backbone."""

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

# The name of its only weights.
WEIGHTS = "saved"

# Image size for networks that accept any, and the share of the shorter side that is cut out: both as usual
# for ImageNet.
USUAL_SIZE, CENTRE = 224, 0.875


class Foreign(nn.Module):
    """Module that runs a network of another runtime, (N, 3, H, W) -> (N, D) float32.

    `run` maps arrays of these shapes. Deep copies are the same object, as a copy would be another session or
    process.
    """

    run: Run

    def forward(self, images: Tensor) -> Tensor:
        """Run on the CPU, whatever device the images are on."""
        return torch.from_numpy(self.run(images.cpu().numpy())).to(images.device)

    def __deepcopy__(self, memo: object) -> Foreign:
        return self


class Interface(msgspec.Struct, frozen=True):
    """Input and output of a network.

    Parameters
    ----------
    size
        Side of the images in pixels; None: any.
    levels
        Whether pixels are integers from 0 to 255.
    width
        Numbers per embedding.
    """

    size: Pixels | None
    levels: bool
    width: Width


class DeclaredPreprocessing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Preprocessing declared in a network's file; None: not declared.

    The shorter side is resized to `resize` pixels, a square of `size` pixels is cut from the centre, and
    values from 0 to 1 are normalized to (value - mean) / std.
    """

    size: Pixels | None = None
    resize: Resized | None = None
    mean: Color | None = None
    std: tuple[Positive, Positive, Positive] | None = None
    interpolation: Interpolation | None = None


def preprocessing(
    declared: DeclaredPreprocessing, interface: Interface, mean: Color, std: Color, origin: str
) -> Preprocessing:
    """Complete the declared preprocessing with defaults.

    Parameters
    ----------
    declared
        Found in the network's file.
    interface
        Input of the network.
    mean, std
        Defaults per channel, for values from 0 to 1.
    origin
        Name of the network in errors.

    Raises
    ------
    ModelFileError
        If the declaration contradicts itself or the network's input.
    """
    size = interface.size or declared.size or USUAL_SIZE
    resize = declared.resize or round(size / CENTRE)
    if interface.levels and (declared.mean or declared.std):
        raise ModelFileError(f"{origin} takes pixels from 0 to 255. Fix: remove mean and std")
    if interface.levels:
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if declared.size not in (None, size):
        raise ModelFileError(
            f"{origin} declares size {declared.size}, but takes only images of {size} pixels"
        )
    if resize < size:
        raise ModelFileError(f"{origin} declares resize {resize}, which is less than its size, {size}")
    interpolation = declared.interpolation or "bilinear"
    return Preprocessing(size, resize, interpolation, declared.mean or mean, declared.std or std)


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
    """Facts of a network of unknown architecture.

    Parameters
    ----------
    name, source, family
        See `BackboneFacts`.
    block
        Name of its only block.
    width
        Numbers per embedding.
    preprocessing
        Of images.
    url
        Its address; empty: a file or directory of the user's.
    bytes
        Size of its file; 0: unknown.
    """
    weights = WeightsFacts(
        name=WEIGHTS,
        url=url,
        bytes=bytes,
        preprocessing=preprocessing,
        terms="see its publisher",
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
        message = f"{facts.name} has only the weights that it was saved with (got {weights}). Fix: remove it"
        raise RecipeError([Problem("weights", message)])


def foreign_backbone(
    facts: BackboneFacts,
    files: Files,
    weights: WeightsFacts | None,
    digest: str,
    runner: Callable[[Callable[[], Files]], Run],
) -> Backbone:
    """Make a backbone of one block that runs the network in `files`, which become its assets.

    Parameters
    ----------
    facts, weights, digest
        See `Backbone`.
    files
        The network's files by name.
    runner
        Makes the function that runs the network; its argument returns the files, which are in memory once.
    """
    block = Foreign()
    backbone = Backbone(facts, {facts.blocks[0]: block}, nn.Identity(), weights, digest, files)
    block.run = runner(backbone.assets.files)
    return backbone.eval()


def declared_in(words: Mapping[str, Any], origin: str) -> DeclaredPreprocessing:
    """Parse a declaration; raises `ModelFileError` for an unknown word or a wrong value."""
    try:
        return msgspec.convert(words, DeclaredPreprocessing, strict=False)
    except msgspec.ValidationError as error:
        raise ModelFileError(f"{origin} declares its preprocessing wrongly: {error}") from None

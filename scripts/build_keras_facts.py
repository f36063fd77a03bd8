"""Write python/transfer_core/backbones/keras/published.json from the installed Keras.

    python scripts/build_keras_facts.py

The file, its address and its digest are those that Keras asks for when it is told to fetch ImageNet's
weights, what pixels become is found by giving some to its `preprocess_input`, and the table below holds what
Keras does not say in a form that a program can read: the papers that its documentation names.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import numpy as np

from transfer_core.backbones.keras import keras_library
from transfer_core.backbones.keras.keras_published import Published

OUTPUT = Path(__file__).parents[1] / "python/transfer_core/backbones/keras/published.json"

# Keras' module → paper, arXiv id.
PAPERS = {
    "convnext": ("A ConvNet for the 2020s", "2201.03545"),
    "densenet": ("Densely Connected Convolutional Networks", "1608.06993"),
    "efficientnet": (
        "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
        "1905.11946",
    ),
    "efficientnet_v2": ("EfficientNetV2: Smaller Models and Faster Training", "2104.00298"),
    "inception_resnet_v2": (
        "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning",
        "1602.07261",
    ),
    "inception_v3": ("Rethinking the Inception Architecture for Computer Vision", "1512.00567"),
    "mobilenet": (
        "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
        "1704.04861",
    ),
    "mobilenet_v2": ("MobileNetV2: Inverted Residuals and Linear Bottlenecks", "1801.04381"),
    "mobilenet_v3": ("Searching for MobileNetV3", "1905.02244"),
    "resnet": ("Deep Residual Learning for Image Recognition", "1512.03385"),
    "resnet_v2": ("Identity Mappings in Deep Residual Networks", "1603.05027"),
    "vgg16": ("Very Deep Convolutional Networks for Large-Scale Image Recognition", "1409.1556"),
    "vgg19": ("Very Deep Convolutional Networks for Large-Scale Image Recognition", "1409.1556"),
    "xception": ("Xception: Deep Learning with Depthwise Separable Convolutions", "1610.02357"),
}

# These were first trained on ImageNet-21k, says Keras' documentation of ConvNeXt.
ON_IMAGENET_21K = ("ConvNeXtBase", "ConvNeXtLarge", "ConvNeXtXLarge")


def main() -> None:
    """One model a line, so that a change shows as a line."""
    lines = [msgspec.json.encode(describe(name)).decode() for name in names()]
    OUTPUT.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    print(f"{len(lines)} models → {OUTPUT}")


def names() -> list[str]:
    """All of `keras.applications`, but NASNet, which Keras does not offer on torch."""
    listed = [name for name in dir(keras_library.keras().applications) if name[0].isupper()]
    return sorted(name for name in listed if not name.startswith("NASNet"))


def describe(name: str) -> Published:
    """What is published about one model."""
    function = getattr(keras_library.keras().applications, name)
    module = sys.modules[function.__module__]
    family = module.__name__.rsplit(".", 1)[1]
    size, parameters = shape_of(function)
    file, url, digest = asked_for(function, size)
    mean, std, reverse = preprocessing(module.preprocess_input)
    # See the comment on issue 49930 in Keras' efficientnet.py: with these weights alone it scales once more.
    scale = rounded(1 / np.sqrt(module.IMAGENET_STDDEV_RGB)) if family == "efficientnet" else None
    paper, arxiv = PAPERS[family]
    return Published(
        name=name,
        family=family,
        paper=paper,
        arxiv=arxiv,
        parameters=parameters,
        image_size=size,
        mean=mean,
        std=std,
        blue_first=reverse,
        scale=scale,
        file=file,
        url=url,
        digest=digest,
        trained_on="ImageNet-21k, then ImageNet-1K" if name in ON_IMAGENET_21K else "ImageNet-1K",
    )


def shape_of(function: Any) -> tuple[int, int]:
    """The usual size of an image, and how many parameters there are with the classifier."""
    with keras_library.keras().device("meta"):
        model = function(weights=None)
    # Keras leaves MobileNetV3's open, and says that its weights are for 224.
    return model.input_shape[1] or 224, model.count_params()


Three = tuple[float, float, float]


class AskedFor(Exception):
    """Ends the making of a model where its weights would be fetched."""


def asked_for(function: Any, size: int) -> tuple[str, str, str]:
    """The name, the address and the digest of the file that Keras would fetch, without its classifier."""

    def get_file(name: str, origin: str, file_hash: str = "", **_: Any) -> None:
        raise AskedFor(name, origin, file_hash)

    patched = mock.patch("keras.src.utils.file_utils.get_file", get_file)
    try:
        with keras_library.keras().device("meta"), patched:
            function(include_top=False, input_shape=(size, size, 3))
    except AskedFor as asked:
        name, url, digest = asked.args
        return name, url, digest
    raise AssertionError(f"{function.__name__} fetches nothing")


def preprocessing(function: Any) -> tuple[Three, Three, bool]:
    """`mean` and `std` of pixels scaled to 0..1, red, green and blue, and whether it puts blue first."""
    black, white = (function(np.full((1, 1, 1, 3), level, np.float32))[0, 0, 0] for level in (0, 255))
    red = function(np.array([[[[255, 0, 0]]]], np.float32))[0, 0, 0]
    reverse = bool(abs(red[2] - white[2]) < abs(red[2] - black[2]))
    std = 1 / (white - black).astype(float)
    mean = -black.astype(float) * std
    order = slice(None, None, -1) if reverse else slice(None)
    return rounded(mean[order]), rounded(std[order]), reverse


def rounded(numbers: Any) -> Three:
    """To the digits that Keras' float32 has."""
    red, green, blue = (float(f"{number + 0.0:.7g}") for number in numbers)
    return red, green, blue


if __name__ == "__main__":
    main()

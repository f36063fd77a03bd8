"""Describe, load and restore timm's models: `timm/resnet18`, or with a tag `timm/resnet18.a1_in1k`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from transfer_core.backbones.backbone import Backbone, OnlyShapes, filled
from transfer_core.backbones.block_outputs import describe_outputs
from transfer_core.backbones.facts import BackboneFacts, WeightsFacts
from transfer_core.backbones.registry import bare_name
from transfer_core.backbones.timm.timm_blocks import Parts, arrange, as_one_block, embed
from transfer_core.backbones.timm.timm_facts import CODE, UNTAGGED, weights_of
from transfer_core.backbones.timm.timm_import import timm
from transfer_core.backbones.timm.timm_layers import with_plain_layers
from transfer_core.backbones.timm.timm_listed import CONVERTED, listed, paper_title
from transfer_core.backbones.weights import FoundWeights, find_weights
from transfer_core.backbones.weights_reader import read_tensors
from transfer_core.model_file.format import tensors_digest
from transfer_core.runtime.devices import torch_threads
from transfer_core.runtime.errors import (
    ConfigurationError,
    ModelFileError,
    Problem,
    RecipeError,
    did_you_mean,
)
from transfer_core.runtime.progress import Progress

_SHOWN = 300  # characters of torch's message about a file that does not fit


def facts(name: str, trust: bool) -> BackboneFacts:
    """See `Loading`."""
    return _facts(name)


@cache
@torch_threads(1)
def _facts(name: str) -> BackboneFacts:
    architecture, tag = _checked(name)
    weights = weights_of(architecture)
    if tag:
        same = {tag, CONVERTED} if tag == weights[0].name else {tag}
        weights = tuple(published for published in weights if published.name in same)
    default = next((published for published in weights if not published.noncommercial), weights[0])
    model = _create(_variant(architecture, default))
    parameters, width = _count(model), model.head_hidden_size
    blocks, _ = _parts(model, default)
    maps, tokens = describe_outputs(blocks, _size(default))
    known = listed(architecture)
    family = type(model).__module__.rpartition(".")[2]
    return BackboneFacts(
        name=name,
        source="timm",
        family=family,
        paper=paper_title(known.arxiv) if known else "",
        arxiv=known.arxiv if known else "",
        code_license="Apache-2.0",
        code_url=f"{CODE}/{family}.py",
        embedding_width=width,
        parameters=parameters,
        backbone_parameters=sum(_count(block) for block in blocks.values()),
        default=default.name,
        blocks=tuple(blocks),
        weights=weights,
        feature_maps=maps,
        token_states=tokens,
    )


@torch_threads(1)
def load(facts: BackboneFacts, weights: str, trust: bool, progress: Progress) -> Backbone:
    """See `Loading`."""
    if weights == "random":
        return _random(facts)
    found = find_weights(facts, weights, progress)
    model = _pretrained(facts, found)
    image = torch.randn(1, 3, *[_size(found.weights)] * 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = embed(model, image)
        backbone = Backbone(facts, *_parts(model, found.weights), found.weights, found.digest).eval()
        if not torch.allclose(backbone(image), expected, rtol=1e-4, atol=1e-5):
            raise ConfigurationError(
                f"{facts.name} can't be split into blocks with timm {timm.__version__}: they compute other "
                "embeddings than the model itself. Fix: another version of timm; please report it"
            )
    backbone.origin = (str(found.path),)
    return backbone


@torch_threads(1)
def restore(
    facts: BackboneFacts,
    tensors: Mapping[str, Tensor],
    weights: WeightsFacts | None,
    digest: str,
    trust: bool,
) -> Backbone:
    """See `Loading`; needs timm."""
    architecture, _ = _checked(facts.name)
    model = _create(_variant(architecture, weights or facts.default_weights))
    backbone = Backbone(facts, *_parts(model, weights or facts.default_weights), weights, digest)
    return filled(backbone, model, tensors, "the saved model")


# Names.


def _checked(name: str) -> tuple[str, str]:
    """The architecture and the tag of its weights, empty if there is none; raises `RecipeError`."""
    architecture, _, tag = bare_name(name).partition(".")
    if architecture.endswith("_enc"):
        other = architecture.removesuffix("_enc")
        message = f"timm/{architecture} is the encoder of a language model. Try: timm/{other}"
        raise RecipeError([Problem("backbone", message)])
    if architecture not in (known := timm.list_models()):
        nearest = did_you_mean(f"timm/{architecture}", [f"timm/{name}" for name in known])
        message = f'unknown backbone "{name}"{nearest} (timm {timm.__version__} has {len(known)})'
        raise RecipeError([Problem("backbone", message)])
    tags = [weights.name for weights in weights_of(architecture)]
    if tag and tag not in tags:
        message = (
            f'timm/{architecture} has no weights "{tag}"{did_you_mean(tag, tags)} (one of: {", ".join(tags)})'
        )
        raise RecipeError([Problem("backbone", message)])
    return architecture, tag


def _variant(architecture: str, weights: WeightsFacts) -> str:
    """timm's name of an architecture with these weights."""
    tags = [published.name for published in weights_of(architecture)]
    tag = weights.name if weights.name in tags and weights.name not in (CONVERTED, UNTAGGED) else ""
    return f"{architecture}.{tag}" if tag else architecture


# Networks.


class _Zeros(OnlyShapes):
    """Context in which new modules contain zeros, which take no memory until written to, and draw no numbers.

    Unlike with `OnlyShapes`, constants that timm computes (tables of positions) have their values.
    """

    _ALLOCATE = ()
    _SKIPPED = (Tensor.erfinv_,)  # of a truncated normal distribution

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in self._SKIPPED:
            return args[0]
        return super().__torch_function__(torch.zeros if func is torch.empty else func, types, args, kwargs)


def _create(variant: str, **options: Any) -> Any:
    """Create timm's model with its classifier, with zeros for weights."""
    with _Zeros():
        return timm.create_model(variant, **options).eval()


def _random(facts: BackboneFacts, seed: int = 0) -> Backbone:
    architecture, _ = _checked(facts.name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = timm.create_model(_variant(architecture, facts.default_weights)).eval()
    backbone = Backbone(facts, *_parts(model, facts.default_weights))
    backbone.weights_digest = tensors_digest(backbone.state_dict())
    return backbone.eval()


def _parts(model: Any, weights: WeightsFacts) -> Parts:
    """The model as blocks; as one block if it can't be traced."""
    model.reset_classifier(0)
    with_plain_layers(model)
    try:
        return arrange(model, _size(weights))
    except Exception:
        return as_one_block(model)


def _size(weights: WeightsFacts) -> int:
    assert weights.preprocessing
    return weights.preprocessing.crop_size


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


# Weights.


def _pretrained(facts: BackboneFacts, found: FoundWeights) -> Any:
    """Create timm's model with these weights; timm converts them to its present names."""
    architecture, _ = _checked(facts.name)
    variant, tensors = _variant(architecture, found.weights), read_tensors(found.path)
    if found.weights.name == CONVERTED:
        names = _create(variant).state_dict()
        tensors = dict(zip(names, tensors.values(), strict=True))
    options = {} if found.weights in facts.weights else _own_classes(variant, tensors)
    overlay = {"state_dict": tensors, **options}
    try:
        return _create(variant, pretrained=True, pretrained_cfg_overlay=overlay, **options)
    except (RuntimeError, KeyError, ValueError, AssertionError) as error:
        raise ModelFileError(f"{found.path} does not fit {facts.name}: {_first_misfits(error)}") from None


def _own_classes(variant: str, tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """The number of classes in the user's own file; 0 if it has no classifier."""
    configuration = timm.models.get_pretrained_cfg(variant)
    names = (configuration.classifier if configuration else None) or ()
    layers = (names,) if isinstance(names, str) else names
    rows = [tensors[f"{layer}.weight"].shape[0] for layer in layers if f"{layer}.weight" in tensors]
    return {"num_classes": rows[0] if rows else 0}


def _first_misfits(error: Exception) -> str:
    """The beginning of torch's message, without its heading."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    message = " ".join(lines[1:] if len(lines) > 1 else lines)
    return message if len(message) <= _SHOWN else f"{message[:_SHOWN]}…"

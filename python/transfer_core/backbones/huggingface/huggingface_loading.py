"""Describe, load and restore encoders of texts and images, of the Hugging Face hub or in directories."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from transfer_core.backbones.asset_files import PREFIX, files_in
from transfer_core.backbones.backbone import Backbone, OnlyShapes
from transfer_core.backbones.encoder_decoder.sequence_assets import restored_backbone
from transfer_core.backbones.facts import BackboneFacts, WeightsFacts
from transfer_core.backbones.huggingface.huggingface_code import (
    check_trust,
    code_files,
    code_network,
    code_of,
    same_code,
)
from transfer_core.backbones.huggingface.huggingface_network import (
    Network,
    build_network,
    own_tensors,
    supported_only,
    tensor_names,
)
from transfer_core.backbones.huggingface.huggingface_weights import SAFETENSORS, FoundTensors, find_tensors
from transfer_core.backbones.huggingface.image_processor import read_preprocessing
from transfer_core.backbones.huggingface.model_card import read_card
from transfer_core.backbones.huggingface.pooling import Pool, pooling_files, read_pooling
from transfer_core.backbones.huggingface.repository import (
    CONFIG,
    Repository,
    find_repository,
    local_repository,
)
from transfer_core.backbones.huggingface.sequence_loading import load_sequences, sequence_facts
from transfer_core.backbones.huggingface.sequence_models import is_sequence_model
from transfer_core.backbones.huggingface.tokenizer import TOKENIZER, read_tokenizer, usual_length
from transfer_core.backbones.weights import is_path, own_file
from transfer_core.backbones.weights_reader import fit, read_tensors
from transfer_core.model_file.format import tensors_digest
from transfer_core.runtime.errors import ModelFileError
from transfer_core.runtime.progress import Progress

# A repository with more files is read each time.
_MOST_FILES = 100


def facts(name: str, trust: bool) -> BackboneFacts:
    """See `Loading`. The name in the facts has the commit of the files: `hf/org/name@commit`."""
    repository = find_repository(name)
    config = repository.json(CONFIG)
    check_trust(repository.name, config, trust)
    if is_sequence_model(config):
        return sequence_facts(name, repository, config)
    if code_of(config):
        network = code_network(repository, config, with_weights=False)
    else:
        with OnlyShapes():
            network = build_network(name, config)
    images, ways = None, 1
    with supported_only(name):
        if network.pool is None:
            ways = len(read_pooling(repository.read).ways)
        else:
            options = {**network.processor, **repository.json("preprocessor_config.json")}
            images = read_preprocessing(options, config)
    count = sum(parameter.numel() for block in network.blocks.values() for parameter in block.parameters())
    card = read_card(repository.read("README.md"))
    page = f"https://huggingface.co/{repository.model}" if repository.model else ""
    return BackboneFacts(
        name=repository.name,
        source="huggingface",
        family=config["model_type"],
        paper="",
        arxiv=card.arxiv,
        code_license="Apache-2.0",
        code_url="https://github.com/huggingface/transformers",
        embedding_width=ways * network.width,
        parameters=count,
        backbone_parameters=count,
        default=SAFETENSORS,
        blocks=tuple(network.blocks),
        weights=(
            WeightsFacts(
                name=SAFETENSORS,
                file=SAFETENSORS,
                url=page,
                preprocessing=images,
                license=card.license,
                license_url=card.license_url or page,
                trained_on=card.trained_on,
                terms="see its model card",
            ),
        ),
        modality="image" if images else "text",
        max_length=None if images else usual_length(repository, network.positions),
        positions=None if images else network.positions,
        feature_maps=network.feature_maps,
        token_states=network.token_states,
    )


def load(facts: BackboneFacts, weights: str, trust: bool, progress: Progress) -> Backbone:
    """See `Loading`."""
    repository = find_repository(facts.name, progress)
    config = repository.json(CONFIG)
    check_trust(facts.name, config, trust)
    if facts.encoder_decoder:
        return load_sequences(facts, repository, config, weights, progress)
    files = _assets(repository, facts, progress)
    if weights == "random":
        return _random(facts, files, repository)
    if code_of(config):
        known = facts.default_weights if weights == "pretrained" else facts.published(weights)
        digest = find_tensors(repository, progress).digest
        return _backbone(facts, files, code_network(repository, config, True), known, digest).eval()
    if weights != SAFETENSORS and is_path(weights):
        own = own_file(facts, weights)
        found, known = FoundTensors(own.path, read_tensors(own.path), own.digest), own.weights
    else:
        known = facts.default_weights if weights == "pretrained" else facts.published(weights)
        found = find_tensors(repository, progress)
    with OnlyShapes():
        network = build_network(facts.name, config)
    tensors = own_tensors(network, found.tensors, facts.family)
    backbone = _filled(
        _backbone(facts, files, network, known, found.digest), network, tensors, str(found.file)
    )
    if not is_path(weights):
        inside = list(islice(found.file.parent.rglob("*"), _MOST_FILES + 1))
        backbone.origin = tuple(str(path) for path in inside if path.is_file() and len(inside) <= _MOST_FILES)
    return backbone


def restore(
    facts: BackboneFacts,
    tensors: Mapping[str, Tensor],
    weights: WeightsFacts | None,
    digest: str,
    trust: bool,
) -> Backbone:
    """See `Loading`; needs neither transformers nor the model's files, unless they contain code."""
    if facts.encoder_decoder:
        return restored_backbone(facts, tensors, weights, digest)
    files = files_in(tensors)
    config = _config(files)
    check_trust(facts.name, config, trust)
    if code_of(config):
        repository = same_code(local_repository(facts.name), files, facts.name)
        network = code_network(repository, config, with_weights=False)
    else:
        with OnlyShapes():
            network = build_network(facts.name, config)
    backbone = _backbone(facts, files, network, weights, digest)
    return _filled(backbone, network, tensors, "the saved model")


def _random(facts: BackboneFacts, files: dict[str, bytes], repository: Repository) -> Backbone:
    """Build the backbone with random weights, always the same."""
    config = _config(files)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if code_of(config):
            network = code_network(repository, config, with_weights=False)
        else:
            network = build_network(facts.name, config)
    backbone = _backbone(facts, files, network, None, "").eval()
    backbone.weights_digest = tensors_digest(backbone.state_dict())
    return backbone


def _backbone(
    facts: BackboneFacts, files: dict[str, bytes], network: Network, weights: WeightsFacts | None, digest: str
) -> Backbone:
    pool = network.pool or Pool(read_pooling(files.get))
    return Backbone(facts, network.blocks, pool, weights, digest, files)


def _filled(backbone: Backbone, network: Network, tensors: Mapping[str, Tensor], origin: str) -> Backbone:
    """Assign tensors, named as in `Backbone`, to a backbone made within `OnlyShapes`."""
    names = {theirs: own for own, theirs in tensor_names(network).items()}
    state = backbone.state_dict()
    names |= {own: own for own in state.keys() - set(names.values())}
    files = {name: tensor for name, tensor in state.items() if name.startswith(PREFIX)}
    fitting = fit(backbone, names, {**tensors, **files}, f"{origin} does not fit {backbone.facts.name}")
    backbone.load_state_dict(fitting, assign=True)
    return backbone.eval()


def _assets(repository: Repository, facts: BackboneFacts, progress: Progress) -> dict[str, bytes]:
    """The files that are needed to build the network and to tokenize texts."""
    files = {CONFIG: repository.read(CONFIG) or b""}
    if facts.modality == "text":
        files |= {TOKENIZER: read_tokenizer(repository, progress), **pooling_files(repository.read)}
    return files | code_files(repository, _config(files))


def _config(files: Mapping[str, bytes]) -> dict[str, Any]:
    if CONFIG not in files:
        raise ModelFileError(f"the saved model has no {CONFIG}")
    return json.loads(files[CONFIG])  # type: ignore[no-any-return]

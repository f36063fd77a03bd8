"""Describe and load the encoder-decoders of the hub."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transfer_core.backbones.encoder_decoder.encoder_decoder import EncoderDecoder
from transfer_core.backbones.encoder_decoder.sequence_assets import (
    DESCRIPTION,
    description_file,
    random_backbone,
    sequence_backbone,
)
from transfer_core.backbones.facts import BackboneFacts, WeightsFacts
from transfer_core.backbones.huggingface.huggingface_network import supported_only
from transfer_core.backbones.huggingface.huggingface_weights import SAFETENSORS, FoundTensors, find_tensors
from transfer_core.backbones.huggingface.model_card import read_card
from transfer_core.backbones.huggingface.repository import Repository
from transfer_core.backbones.huggingface.sequence_models import own_sequence_tensors, sequence_shape
from transfer_core.backbones.huggingface.sequence_tokenizers import GENERATION_CONFIG, sequence_files
from transfer_core.backbones.weights import is_path, own_file
from transfer_core.backbones.weights_reader import read_tensors
from transfer_core.runtime.progress import Progress


def sequence_facts(name: str, repository: Repository, config: Mapping[str, Any]) -> BackboneFacts:
    """Facts of an encoder-decoder; its tokenizer is read for the languages."""
    with supported_only(name):
        shape = sequence_shape(config, repository.json(GENERATION_CONFIG))
    _, layout = sequence_files(repository, config, Progress())
    card = read_card(repository.read("README.md"))
    page = f"https://huggingface.co/{repository.model}" if repository.model else ""
    inner = shape.layers * shape.inner + shape.decoder_layers * shape.decoder_inner
    attention = 4 * (shape.layers + 2 * shape.decoder_layers) * shape.heads * shape.head_width
    dense = shape.width * ((3 if shape.gated else 2) * inner + attention)
    count = dense + shape.vocabulary * shape.width * (1 if shape.tied_output else 2)
    weights = WeightsFacts(
        name=SAFETENSORS,
        file=SAFETENSORS,
        url=page,
        license=card.license,
        license_url=card.license_url or page,
        trained_on=card.trained_on,
        terms="see its model card",
    )
    return BackboneFacts(
        name=repository.name,
        source="huggingface",
        family=shape.family,
        paper="",
        arxiv=card.arxiv,
        code_license="Apache-2.0",
        code_url="https://github.com/huggingface/transformers",
        embedding_width=shape.width,
        parameters=count,
        backbone_parameters=count,
        default=SAFETENSORS,
        blocks=shape.blocks,
        weights=(weights,),
        modality="text",
        max_length=shape.longest,
        positions=shape.longest if shape.positions == "learned" else None,
        encoder_decoder=True,
        languages=tuple(sorted(layout.languages)) if layout.needs else (),
    )


def load_sequences(
    facts: BackboneFacts, repository: Repository, config: Mapping[str, Any], weights: str, progress: Progress
) -> EncoderDecoder:
    """Load an encoder-decoder; see `Loading.load`."""
    with supported_only(facts.name):
        shape = sequence_shape(config, repository.json(GENERATION_CONFIG))
    files, layout = sequence_files(repository, config, progress)
    files[DESCRIPTION] = description_file(shape, layout)
    if weights == "random":
        return random_backbone(facts, files)
    if weights != SAFETENSORS and is_path(weights):
        own = own_file(facts, weights)
        found, known = FoundTensors(own.path, read_tensors(own.path), own.digest), own.weights
    else:
        known = facts.default_weights if weights == "pretrained" else facts.published(weights)
        found = find_tensors(repository, progress)
    tensors = own_sequence_tensors(shape, found.tensors)
    return sequence_backbone(facts, files, tensors, known, found.digest, str(found.file))

"""Encoders of texts and of images on the Hugging Face hub, and in directories of its form."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from importlib.util import find_spec

from transfer_core.backbones.catalogue_entry import Entry
from transfer_core.backbones.facts import forbids_commerce
from transfer_core.backbones.huggingface.repository import local_repository
from transfer_core.backbones.registry import Source, register

_SENTENCES = "sentence embeddings, mean of 14 sets"


def _entries() -> Iterator[Entry]:
    for known in json.loads(files(__package__).joinpath("curated.json").read_bytes()):
        value = known.get("value")
        yield Entry(
            name=f"hf/{known['name']}",
            backbone=f"hf/{known['name']}",
            weights="pretrained",
            source="huggingface",
            noncommercial=forbids_commerce(known["license"]),
            code_url="https://github.com/huggingface/transformers",
            weights_url=f"https://huggingface.co/{known['name']}",
            metric=_SENTENCES if value else "",
            metric_value=value,
            metric_source="https://www.sbert.net/docs/pretrained_models.html" if value else "",
            **{word: known[word] for word in ("modality", "trained_for", "family", "parameters")},
            **{word: known[word] for word in ("embedding_width", "input_size", "license", "paper", "arxiv")},
        )


def _is_local(entry: Entry) -> bool:
    repository = local_repository(entry.name) if find_spec("tokenizers") else None
    names = ("model.safetensors", "pytorch_model.bin")
    return repository is not None and any((repository.folder / name).is_file() for name in names)


register(
    Source(
        name="huggingface",
        loading="transfer_core.backbones.huggingface.huggingface_loading",
        prefixes=("hf",),
        packages=("transformers",),
        entries=_entries,
        is_local=_is_local,
    )
)

"""Metadata of exported files (docs/reference/onnx_file.md), and their digest."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import msgspec

from transfer_core.export.graph_of_model import Parts
from transfer_core.features.tokens import TOKENIZER, Reader

FORMAT_VERSION = 1
ENTRY, DIGEST = "transfer", "sha256"
# Field `metadata_props` of ModelProto, and its fields `key` and `value`, each with a length.
_DIGEST_ENTRY = b"\x72\x4a\x0a\x06sha256\x12\x40"


def metadata_of(
    parts: Parts, precision: str, fields: Mapping[str, Any], files: Mapping[str, str]
) -> dict[str, str]:
    """`metadata_props` of a model, without the digest; see `file.serialized`."""
    import onnx

    header, facts = parts.header, parts.backbone.facts
    source = msgspec.structs.asdict(header.backbone)
    entry: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "task": header.task,
        "modality": header.modality,
        "labels": header.labels,
        "state": header.state,
        "embedding_width": header.embedding_width,
        "precision": precision,
        "backbone": {name: source[name] for name in ("name", "weights", "weights_digest", "fine_tuned")},
        "recipe": header.recipe,
        "metrics": header.metrics,
        "warnings": header.warnings,
        "model_digest": parts.digest,
        "data_fingerprint": header.data_fingerprint,
        "versions": {**header.versions, "onnx": onnx.__version__},
        "created_at": header.created_at,
        **fields,
    }
    files = dict(files)
    if facts.encoder_decoder:
        pass
    elif facts.modality == "image":
        entry["preprocessing"] = _preprocessing(parts)
    elif facts.modality == "table":
        columns = parts.chain.reader.columns
        types = ["number" if numeric else "category" for numeric in columns.numeric]
        entry["columns"] = [
            {"name": name, "type": type} for name, type in zip(columns.names, types, strict=True)
        ]
    elif parts.is_fitted:
        entry["text"] = _terms(parts.chain)
    else:
        reader = Reader(parts.backbone, parts.recipe.text)
        entry["text"] = {
            "kind": "tokenizer",
            "paired": None,
            "max_length": reader.max_length,
            "long": reader.long,
        }
        files[TOKENIZER] = parts.backbone.assets.files()[TOKENIZER].decode()
    return {ENTRY: msgspec.json.encode(entry).decode(), **files}


def _preprocessing(parts: Parts) -> dict[str, Any]:
    found = msgspec.structs.asdict(parts.backbone.preprocessing)
    if parts.header.task != "detection":
        return {**found, "decode_at_least": found["resize_size"]}
    side = parts.recipe.image_size
    same = {name: found[name] for name in ("interpolation", "mean", "std")}
    return {"image_size": side, **same, "decode_longer_at_least": side}


def _terms(chain: Any) -> dict[str, Any]:
    vectorizer = chain.estimators[0]
    stop_words = vectorizer.get_stop_words()
    return {
        "kind": "terms",
        "paired": chain.reader.paired,
        "analyzer": vectorizer.analyzer,
        "lowercase": vectorizer.lowercase,
        "strip_accents": vectorizer.strip_accents,
        "token_pattern": vectorizer.token_pattern,
        "stop_words": sorted(stop_words or ()),
    }


def with_digest(content: bytes) -> bytes:
    """The bytes of a file with their digest as the last entry of the metadata."""
    return content + _DIGEST_ENTRY + sha256(content).hexdigest().encode()

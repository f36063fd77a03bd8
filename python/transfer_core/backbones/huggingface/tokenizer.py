"""The tokenizer that belongs to a model of the hub, as one file: tokenizer.json."""

from __future__ import annotations

from pathlib import Path

from transfer_core.backbones.huggingface.repository import Repository
from transfer_core.runtime.errors import DependencyError, ModelFileError
from transfer_core.runtime.progress import Progress

TOKENIZER = "tokenizer.json"

# What older tokenizers are kept in. transformers can make a tokenizer.json of them.
_OLDER = (
    "vocab.txt",
    "vocab.json",
    "sentencepiece.bpe.model",
    "spiece.model",
    "spm.model",
    "sentencepiece.model",
)

# Files say so where they mean that there is no limit.
_NO_LIMIT = 1_000_000


def read_tokenizer(repository: Repository, progress: Progress) -> bytes:
    """The bytes of its tokenizer.json, or of one that is made of what it has.

    Raises
    ------
    ModelFileError
        If it has no tokenizer, or one that can't be read.
    DependencyError
        If transformers is needed for it and missing.
    """
    if path := repository.path(TOKENIZER, progress):
        return path.read_bytes()
    if not any(repository.path(file, progress) for file in _OLDER):
        wanted = f"{TOKENIZER} or one of {', '.join(_OLDER)}"
        raise ModelFileError(f"{repository.folder} has no tokenizer: expected {wanted}")
    return _converted(repository.folder)


def usual_length(repository: Repository, positions: int) -> int:
    """How many tokens of a text its publisher reads."""
    sentences = repository.json("sentence_bert_config.json").get("max_seq_length")
    tokens = repository.json("tokenizer_config.json").get("model_max_length")
    said = (sentences or tokens or positions, positions)
    return int(min(length for length in said if length < _NO_LIMIT))


def _converted(folder: Path) -> bytes:
    try:
        from transformers import AutoTokenizer
    except ImportError:
        feature = f"the tokenizer in {folder}, which has no {TOKENIZER},"
        raise DependencyError(feature, "transformers", "huggingface") from None
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=True, local_files_only=True)
        return tokenizer.backend_tokenizer.to_str().encode()
    except (OSError, ValueError, AttributeError, ImportError) as error:
        raise ModelFileError(f"the tokenizer in {folder} can't be read: {error}") from error

"""The tokenizer of a model of the hub as one file, tokenizer.json."""

from __future__ import annotations

from pathlib import Path

from transfer_core.backbones.huggingface.repository import Repository
from transfer_core.runtime.errors import DependencyError, ModelFileError
from transfer_core.runtime.progress import Progress

TOKENIZER = "tokenizer.json"

# Files of older tokenizers, which transformers can convert to a tokenizer.json.
_OLDER = (
    "vocab.txt",
    "vocab.json",
    "sentencepiece.bpe.model",
    "spiece.model",
    "spm.model",
    "sentencepiece.model",
)

# Larger numbers in files mean that there is no limit.
_NO_LIMIT = 1_000_000


def read_tokenizer(repository: Repository, progress: Progress) -> bytes:
    """Read tokenizer.json, or convert an older tokenizer to one.

    Raises
    ------
    ModelFileError
        If the model has no tokenizer, or one that can't be read.
    DependencyError
        If transformers is needed and not installed.
    """
    if path := repository.path(TOKENIZER, progress):
        return path.read_bytes()
    if not any(repository.path(file, progress) for file in _OLDER):
        wanted = f"{TOKENIZER} or one of {', '.join(_OLDER)}"
        raise ModelFileError(f"{repository.folder} has no tokenizer: expected {wanted}")
    return _converted(repository.folder)


def usual_length(repository: Repository, positions: int) -> int:
    """The publisher's limit of tokens per text."""
    sentences = repository.json("sentence_bert_config.json").get("max_seq_length")
    tokens = repository.json("tokenizer_config.json").get("model_max_length")
    limits = (sentences or tokens or positions, positions)
    return int(min(length for length in limits if length < _NO_LIMIT))


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

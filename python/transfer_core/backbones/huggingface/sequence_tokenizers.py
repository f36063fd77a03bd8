"""Tokenizers and special tokens of the encoder-decoders of the hub."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from transfer_core.backbones.encoder_decoder.sentencepiece_model import tokenizer_of
from transfer_core.backbones.encoder_decoder.text_codec import PIECES, SOURCE, TARGET
from transfer_core.backbones.encoder_decoder.token_layout import TokenLayout
from transfer_core.backbones.huggingface.repository import Repository
from transfer_core.backbones.huggingface.sequence_models import T5_LIKE, start_token
from transfer_core.backbones.huggingface.tokenizer import TOKENIZER, read_tokenizer
from transfer_core.runtime.errors import ModelFileError
from transfer_core.runtime.progress import Progress

_TOKENIZER_CONFIG = "tokenizer_config.json"
GENERATION_CONFIG = "generation_config.json"
_VOCABULARY = "vocab.json"
# One SentencePiece model for sources and targets.
_SHARED_MODELS = ("sentencepiece.bpe.model", "spiece.model")
# `deu_Latn` (NLLB), `de_DE` (mBART).
_CODE = re.compile(r"[a-z]{2,3}_[A-Z][A-Za-z]{1,3}")


def sequence_files(
    repository: Repository, config: Mapping[str, Any], progress: Progress
) -> tuple[dict[str, bytes], TokenLayout]:
    """Tokenizers as assets of a backbone, and the layout of special tokens.

    Raises
    ------
    ModelFileError
        If the tokenizer is missing or can't be read.
    DependencyError
        If transformers is needed to convert it.
    """
    kind, options = config["model_type"], repository.json(_TOKENIZER_CONFIG)
    generation = repository.json(GENERATION_CONFIG)
    end = int(config.get("eos_token_id", 1 if kind in T5_LIKE else 2))
    start = start_token(config, generation)
    if kind == "marian":
        return _marian(repository, start, end, progress)
    if kind == "m2m_100" and repository.path(_VOCABULARY, progress):
        return _many_to_many(repository, options, start, end, progress)
    files = {SOURCE: _shared(repository, progress)}
    pieces = _pieces(files[SOURCE])
    unknown = pieces.get("<unk>", 0)
    if kind in T5_LIKE:
        found = _t5_prefixes(config)
        return files, TokenLayout(
            source_after=(end,), target_after=(end,), start=start, unknown=unknown, prefixes=found
        )
    if kind == "bart":
        forced = _first_token(config, generation, int(config.get("bos_token_id", 0)))
        first = int(config.get("bos_token_id", 0))
        return files, TokenLayout(
            source_before=(first,), source_after=(end,), target_before=(forced,), target_after=(end,),
            start=start, unknown=unknown,
        )  # fmt: skip
    languages = {piece: token for piece, token in pieces.items() if _CODE.fullmatch(piece)}
    if options.get("tokenizer_class", "").startswith(
        "MBartTokenizer"
    ):  # mBART-25: languages behind the texts
        return files, TokenLayout(
            source_after=(end, "source"), target_after=(end, "target"), start="target", unknown=unknown,
            languages=languages,
        )  # fmt: skip
    return files, TokenLayout(
        source_before=("source",), source_after=(end,), target_before=("target",), target_after=(end,),
        start=start, unknown=unknown, languages=languages,
    )  # fmt: skip


def _marian(
    repository: Repository, start: int, end: int, progress: Progress
) -> tuple[dict[str, bytes], TokenLayout]:
    """Two SentencePiece models and one vocabulary; `>>deu<<` in front of a source chooses a language."""
    vocabulary = _json_file(repository, _VOCABULARY, progress)
    files = {PIECES: json.dumps(vocabulary).encode()}
    for file, name in ((SOURCE, "source.spm"), (TARGET, "target.spm")):
        files[file] = _model(repository, name, progress)
    languages = {piece[2:-2]: token for piece, token in vocabulary.items() if re.fullmatch(">>.+<<", piece)}
    return files, TokenLayout(
        source_before=("target",) if languages else (), source_after=(end,), target_after=(end,), start=start,
        unknown=vocabulary.get("<unk>", 1), languages=languages,
    )  # fmt: skip


def _many_to_many(
    repository: Repository, options: Mapping[str, Any], start: int, end: int, progress: Progress
) -> tuple[dict[str, bytes], TokenLayout]:
    """M2M100: languages are tokens behind the vocabulary."""
    vocabulary = _json_file(repository, _VOCABULARY, progress)
    special = options.get("additional_special_tokens") or ()
    names = [token if isinstance(token, str) else token.get("content", "") for token in special]
    codes = {name.strip("_"): len(vocabulary) + place for place, name in enumerate(names)}
    files = {SOURCE: _model(repository, _SHARED_MODELS[0], progress), PIECES: json.dumps(vocabulary).encode()}
    return files, TokenLayout(
        source_before=("source",), source_after=(end,), target_before=("target",), target_after=(end,),
        start=start, unknown=vocabulary.get("<unk>", 3), languages=codes,
    )  # fmt: skip


def _shared(repository: Repository, progress: Progress) -> bytes:
    """tokenizer.json, or T5's SentencePiece model, whose ids are its tokens."""
    if repository.path(TOKENIZER, progress) is None and repository.path("spiece.model", progress):
        return _model(repository, "spiece.model", progress)
    return read_tokenizer(repository, progress)


def _model(repository: Repository, name: str, progress: Progress) -> bytes:
    path = repository.path(name, progress)
    if path is None:
        raise ModelFileError(f"{repository.folder} has no {name}")
    return tokenizer_of(path.read_bytes(), str(path)).encode()


def _json_file(repository: Repository, name: str, progress: Progress) -> dict[str, int]:
    if repository.path(name, progress) is None:
        raise ModelFileError(f"{repository.folder} has no {name}")
    return repository.json(name)


def _first_token(config: Mapping[str, Any], generation: Mapping[str, Any], default: int) -> int:
    for words in (config, generation):
        if words.get("forced_bos_token_id") is not None:
            return int(words["forced_bos_token_id"])
    return default


def _pieces(tokenizer: bytes) -> dict[str, int]:
    try:
        from tokenizers import Tokenizer

        return dict(Tokenizer.from_str(tokenizer.decode()).get_vocab())
    except ImportError:
        from transfer_core.runtime.errors import DependencyError

        raise DependencyError("reading texts", "tokenizers", "translation") from None
    except Exception as error:  # tokenizers has no class of its own
        raise ModelFileError(f"its tokenizer can't be read: {error}") from None


def _t5_prefixes(config: Mapping[str, Any]) -> dict[str, str]:
    """The prefixes of its published tasks by languages: `en-de`."""
    found = {}
    for name, options in (config.get("task_specific_params") or {}).items():
        match = re.fullmatch(r"translation_(\w+)_to_(\w+)", name)
        if match and isinstance(options, Mapping) and isinstance(options.get("prefix"), str):
            found[f"{match[1]}-{match[2]}"] = options["prefix"]
    return found

"""Read a SentencePiece model (Kudo and Richardson 2018) as a tokenizer.json of Hugging Face.

The file is a protocol buffer; the fields that matter are few, so no package is needed to read them.
"""

from __future__ import annotations

import json
import struct
from base64 import b64encode
from typing import Any

from transfer_core.backbones.protobuf import fields
from transfer_core.runtime.errors import ModelFileError

_MOST_PIECES = 2_000_000
_UNIGRAM, _BPE = 1, 2
_UNKNOWN, _CONTROL, _UNUSED = 2, 3, 5
_SPACE = "▁"


def tokenizer_of(content: bytes, name: str) -> str:
    """Convert the content of an `.spm` or `.model` file to a tokenizer.json with the same ids.

    Parameters
    ----------
    content
        Bytes of the file.
    name
        Its name, for errors.

    Raises
    ------
    ModelFileError
        If it is not a SentencePiece model of the kind unigram or BPE.
    """
    try:
        pieces, trainer, normalizer = _read(content)
        kind = trainer.get(3, _UNIGRAM)
        unknown = next(number for number, (_, _, type) in enumerate(pieces) if type == _UNKNOWN)
        if kind not in (_UNIGRAM, _BPE):
            raise ModelFileError(
                f"{name} is a SentencePiece model of the kind {kind}, expected unigram or BPE"
            )
        special = [
            {"id": number, "content": piece, "special": True, "single_word": False, "lstrip": False}
            | {"rstrip": False, "normalized": False}
            for number, (piece, _, type) in enumerate(pieces)
            if type in (_UNKNOWN, _CONTROL)
        ]
        bytes_for_unknown = bool(trainer.get(35, 0))
        model = _unigram if kind == _UNIGRAM else _bpe
        return json.dumps(
            {
                "version": "1.0",
                "truncation": None,
                "padding": None,
                "added_tokens": special,
                "normalizer": _normalizer(normalizer),
                "pre_tokenizer": _metaspace(normalizer),
                "post_processor": None,
                "decoder": {"type": "Sequence", "decoders": _decoders(bytes_for_unknown, normalizer)},
                "model": model(pieces, unknown, bytes_for_unknown),
            }
        )
    except (IndexError, ValueError, TypeError, StopIteration, struct.error) as error:
        raise ModelFileError(
            f"{name} is not a SentencePiece model: {error or 'it has no unknown piece'}"
        ) from None


def _read(content: bytes) -> tuple[list[tuple[str, float, int]], dict[int, Any], dict[int, Any]]:
    """Pieces as (text, score, type), and the fields of the trainer's and the normalizer's specification."""
    pieces: list[tuple[str, float, int]] = []
    trainer: dict[int, Any] = {}
    normalizer: dict[int, Any] = {}
    for number, value in fields(content):
        if number == 1:
            piece = dict(fields(value))
            pieces.append(
                (piece[1].decode(), struct.unpack("<f", piece.get(2, bytes(4)))[0], piece.get(3, 1))
            )
            if len(pieces) > _MOST_PIECES:
                raise ValueError(f"it has more than {_MOST_PIECES} pieces")
        elif number == 2:
            trainer = dict(fields(value))
        elif number == 3:
            normalizer = dict(fields(value))
    return pieces, trainer, normalizer


def _unigram(pieces: list[tuple[str, float, int]], unknown: int, fallback: bool) -> dict[str, Any]:
    vocabulary = [[piece, score if type != _UNUSED else -1e9] for piece, score, type in pieces]
    return {"type": "Unigram", "unk_id": unknown, "vocab": vocabulary, "byte_fallback": fallback}


def _bpe(pieces: list[tuple[str, float, int]], unknown: int, fallback: bool) -> dict[str, Any]:
    """Merges in the order of the scores of their results."""
    numbers = {piece: number for number, (piece, _, _) in enumerate(pieces)}
    merges = []
    for number, (piece, score, _) in enumerate(pieces):
        halves = ((piece[:cut], piece[cut:]) for cut in range(1, len(piece)))
        known = [half for half in halves if half[0] in numbers and half[1] in numbers]
        known.sort(key=lambda half: (numbers[half[0]], numbers[half[1]]))
        merges += [(-score, number, half) for half in known]
    merges.sort(key=lambda merge: merge[0])
    return {
        "type": "BPE",
        "vocab": numbers,
        "merges": [f"{one} {other}" for _, _, (one, other) in merges],
        "unk_token": pieces[unknown][0],
        "fuse_unk": True,
        "byte_fallback": fallback,
        "dropout": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "ignore_merges": False,
    }


def _normalizer(fields: dict[int, Any]) -> dict[str, Any]:
    steps: list[dict[str, Any]] = []
    if charsmap := fields.get(2):
        steps.append({"type": "Precompiled", "precompiled_charsmap": b64encode(charsmap).decode()})
    if fields.get(4, 1):
        steps.append({"type": "Strip", "strip_left": True, "strip_right": True})
        steps.append({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "})
    return {"type": "Sequence", "normalizers": steps}


def _metaspace(fields: dict[int, Any]) -> dict[str, Any]:
    scheme = "always" if fields.get(3, 1) else "never"
    return {"type": "Metaspace", "replacement": _SPACE, "prepend_scheme": scheme, "split": False}


def _decoders(fallback: bool, fields: dict[int, Any]) -> list[dict[str, Any]]:
    scheme = "always" if fields.get(3, 1) else "never"
    space = {"type": "Metaspace", "replacement": _SPACE, "prepend_scheme": scheme, "split": False}
    return [{"type": "ByteFallback"}, space] if fallback else [space]

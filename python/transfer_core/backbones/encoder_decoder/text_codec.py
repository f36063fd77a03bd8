"""From texts to the tokens of an encoder-decoder, and back; no torch here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from transfer_core.backbones.encoder_decoder.token_layout import TokenLayout
from transfer_core.recipe.schema import Languages
from transfer_core.runtime.errors import DependencyError, ModelFileError

Ids: TypeAlias = npt.NDArray[np.int32]

SOURCE, TARGET, PIECES = "source_tokenizer.json", "target_tokenizer.json", "pieces.json"


class TextCodec:
    """Encodes sources and targets, and decodes outputs.

    Parameters
    ----------
    files
        `SOURCE`, a tokenizer.json; `TARGET` if targets have another one; `PIECES`, a JSON object from pieces
        to tokens, if tokens are not the tokenizer's own ids.
    layout
        Special tokens.
    languages
        Languages of the recipe.
    prefix
        Text before each source.
    vocabulary
        Number of tokens of the network.
    name
        The backbone, for errors.
    """

    def __init__(
        self,
        files: Mapping[str, bytes],
        layout: TokenLayout,
        languages: Languages,
        prefix: str,
        vocabulary: int,
        name: str,
    ) -> None:
        self.layout = layout.resolved(languages, name)
        self.prefix = prefix or layout.prefix(languages)
        self._files = files
        self._vocabulary = vocabulary
        self._name = name

    def sources(self, texts: Sequence[str]) -> list[Ids]:
        """The tokens of sources, with special ones."""
        given = [f"{self.prefix}{text}" for text in texts] if self.prefix else texts
        layout = self.layout
        return self._encoded(self._source, given, layout.source_before, layout.source_after)

    def targets(self, texts: Sequence[str]) -> list[Ids]:
        """The tokens of targets, with special ones, but without the decoder's start token."""
        return self._encoded(self._target, texts, self.layout.target_before, self.layout.target_after)

    def text(self, tokens: Sequence[int]) -> str:
        """The text of generated tokens, without special ones."""
        if self._pieces is None:
            ids = list(tokens)
        else:
            known = (
                self._target.token_to_id(self._by_token[token]) for token in tokens if token in self._by_token
            )
            ids = [id for id in known if id is not None]
        return str(self._target.decode(ids, skip_special_tokens=True)).strip()

    def ordinary(self, tokens: Sequence[int], of_target: bool) -> list[tuple[int, str]]:
        """Places and pieces of the tokens that are not special; a leading space begins a word."""
        layout, tokenizer = self.layout, self._target if of_target else self._source
        around = (layout.source_before, layout.source_after, layout.target_before, layout.target_after)
        special = {layout.start, *layout.languages.values()}.union(*around)
        found = []
        for place, token in enumerate(tokens):
            if token in special:
                continue
            piece = self._by_token.get(token) if self._pieces is not None else tokenizer.id_to_token(token)
            if piece is not None and "▁" not in piece and self._pieces is None:
                piece = tokenizer.decode([token], skip_special_tokens=False) or piece
            found.append((place, (piece or "").replace("▁", " ")))
        return found

    def prepare(self) -> None:
        """Read the tokenizers, which the first text would wait for."""
        self._source  # noqa: B018
        self._target  # noqa: B018

    def _encoded(self, tokenizer: Any, texts: Sequence[str], before: Any, after: Any) -> list[Ids]:
        found = []
        for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False):
            ids = encoding.ids
            if self._pieces is not None:
                unknown = self.layout.unknown
                ids = [self._pieces.get(piece, unknown) for piece in encoding.tokens]
            found.append(np.array((*before, *ids, *after), np.int32))
        return found

    @cached_property
    def _source(self) -> Any:
        return self._tokenizer(SOURCE)

    @cached_property
    def _target(self) -> Any:
        return self._tokenizer(TARGET) if TARGET in self._files else self._source

    @cached_property
    def _pieces(self) -> dict[str, int] | None:
        if PIECES not in self._files:
            return None
        try:
            found = json.loads(self._files[PIECES])
            if not all(type(token) is int and 0 <= token < self._vocabulary for token in found.values()):
                raise ValueError(f"it has tokens outside of 0 to {self._vocabulary - 1}")
        except (ValueError, AttributeError, RecursionError) as error:
            raise ModelFileError(f"the vocabulary of {self._name} can't be read: {error}") from None
        return dict(found)

    @cached_property
    def _by_token(self) -> dict[int, str]:
        return {token: piece for piece, token in (self._pieces or {}).items()}

    def _tokenizer(self, file: str) -> Any:
        try:
            from tokenizers import Tokenizer
        except ImportError:
            raise DependencyError("reading texts", "tokenizers", "translation") from None
        try:
            tokenizer = Tokenizer.from_str(self._files.get(file, b"").decode())
        except Exception as error:  # tokenizers has no class of its own
            raise ModelFileError(f"the tokenizer of {self._name} can't be read: {error}") from None
        if PIECES not in self._files and (known := tokenizer.get_vocab_size()) > self._vocabulary:
            raise ModelFileError(
                f"the tokenizer of {self._name} has {known} tokens, but its weights only {self._vocabulary}"
            )
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer

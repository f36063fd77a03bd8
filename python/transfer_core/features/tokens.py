"""From texts to tokens: all of them at once, on all cores, in Rust."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from transfer_core.backbones.frozen import AnyBackbone
from transfer_core.data.text import Text
from transfer_core.recipe.schema import TextOptions
from transfer_core.runtime.errors import DataError, DependencyError, ModelFileError, Problem, RecipeError

Tokens: TypeAlias = npt.NDArray[np.int32]

TOKENIZER = "tokenizer.json"

# The id of a position without a token, and its type.
PADDING = -1

# Texts, and characters of theirs, in the tokenizer's form at once, which takes some 100 bytes a character.
_TEXTS_AT_ONCE = 4096
_CHARACTERS_AT_ONCE = 2 * 10**6


class Reader:
    """Reads texts as a backbone does.

    Parameters
    ----------
    options
        How long they may be, and what happens to longer ones.
    """

    def __init__(self, backbone: AnyBackbone, options: TextOptions) -> None:
        facts = backbone.facts
        self.max_length = options.max_length or facts.max_length or facts.positions or 0
        self.long = options.long
        self._name = facts.name
        self._tokenizer_file = backbone.files().get(TOKENIZER, b"")
        self._vocabulary = backbone.vocabulary

    def prepare(self) -> None:
        """Read the tokenizer, which the first text would wait for."""
        self._tokenizer  # noqa: B018

    def windows(self, texts: Sequence[Text]) -> Iterator[list[Tokens]]:
        """For each text its windows, of tokens (L, 2) int32, ids and types: one, or several where the text is
        longer than `max_length` and is not cut.

        Raises
        ------
        DataError
            For a pair that would need windows.
        """
        for some in _portions(texts):
            for text, encoding in zip(some, self._tokenizer.encode_batch(some), strict=True):
                further = encoding.overflowing if self.long == "window" else []
                if further and not isinstance(text, str):
                    raise DataError(
                        f"a pair of texts is longer than {self.max_length} tokens, and has no windows: use "
                        "text: { long: :truncate }"
                    )
                yield [_tokens(part) for part in (encoding, *further)]

    def words(self, text: Text) -> tuple[Tokens, list[tuple[str, list[int]]]]:
        """The tokens (L, 2) of the first window of a text, and its words with the places of their tokens."""
        encoding = self._tokenizer.encode_batch([text])[0]
        sides = (text,) if isinstance(text, str) else text
        places: dict[tuple[int, int], list[int]] = {}
        for place, (side, word) in enumerate(zip(encoding.sequence_ids, encoding.word_ids, strict=True)):
            if side is not None and word is not None:
                places.setdefault((side, word), []).append(place)
        offsets = encoding.offsets
        found = [
            (sides[side][offsets[own[0]][0] : offsets[own[-1]][1]].strip(), own)
            for (side, _), own in places.items()
        ]
        return _tokens(encoding), found

    @cached_property
    def _tokenizer(self) -> Any:
        try:
            from tokenizers import Tokenizer
        except ImportError:
            raise DependencyError("reading texts", "tokenizers", "huggingface") from None
        try:
            tokenizer = Tokenizer.from_str(self._tokenizer_file.decode())
        except Exception as error:  # tokenizers has no class of its own
            raise ModelFileError(f"the tokenizer of {self._name} can't be read: {error}") from None
        if (known := tokenizer.get_vocab_size()) > self._vocabulary:
            raise ModelFileError(
                f"the tokenizer of {self._name} knows {known} tokens, but its weights only {self._vocabulary}"
            )
        tokenizer.no_padding()
        needed = 1 + tokenizer.num_special_tokens_to_add(is_pair=True)
        if self.max_length < needed:
            message = f"{self._name} needs {needed} tokens or more (got {self.max_length})"
            raise RecipeError([Problem("text.max_length", message)])
        tokenizer.enable_truncation(self.max_length)
        return tokenizer


def _portions(texts: Sequence[Text]) -> Iterator[list[Text]]:
    """The texts in lists for the tokenizer; one text that is too long for a list is one by itself."""
    some: list[Text] = []
    characters = 0
    for text in texts:
        length = len(text) if isinstance(text, str) else sum(map(len, text))
        if some and (len(some) == _TEXTS_AT_ONCE or characters + length > _CHARACTERS_AT_ONCE):
            yield some
            some, characters = [], 0
        some.append(text)
        characters += length
    if some:
        yield some


def padded(texts: Sequence[npt.NDArray[Any]], length: int) -> npt.NDArray[Any]:
    """Texts (L, …) as a batch (N, length, …): tokens are padded with `PADDING`, hidden states with zeros."""
    dtype = np.result_type(*(text.dtype for text in texts))
    filler = 0 if dtype.kind == "f" else PADDING
    batch = np.full((len(texts), length, *texts[0].shape[1:]), filler, dtype)
    for row, text in zip(batch, texts, strict=True):
        row[: len(text)] = text
    return batch


def _tokens(encoding: Any) -> Tokens:
    return np.ascontiguousarray(np.array((encoding.ids, encoding.type_ids), np.int32).T)

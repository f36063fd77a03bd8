"""From texts to tokens: all of them at once, on all cores, in Rust."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor

from transfer_core.backbones import Backbone
from transfer_core.data.text import Text
from transfer_core.errors import DataError, DependencyError, ModelFileError, Problem, RecipeError
from transfer_core.recipe import TextOptions

TOKENIZER = "tokenizer.json"

# The id of a position without a token, and its type.
PADDING = -1

# So many texts are in the tokenizer's form at once, which holds much more than tokens.
_AT_ONCE = 4096


class Reader:
    """Reads texts as a backbone does.

    Parameters
    ----------
    options
        How long they may be, and what happens to longer ones.
    """

    def __init__(self, backbone: Backbone, options: TextOptions) -> None:
        facts = backbone.facts
        self.max_length = options.max_length or facts.max_length or facts.positions or 0
        self.long = options.long
        self._name = facts.name
        self._tokenizer_file = backbone.assets.files().get(TOKENIZER, b"")
        self._vocabulary: int = backbone.blocks[0].words.num_embeddings  # type: ignore[union-attr, assignment]

    def prepare(self) -> None:
        """Read the tokenizer, which the first text would wait for."""
        self._tokenizer  # noqa: B018

    def windows(self, texts: Sequence[Text]) -> Iterator[list[Tensor]]:
        """For each text its windows, of tokens (L, 2) int32, ids and types: one, or several where the text is
        longer than `max_length` and is not cut.

        Raises
        ------
        DataError
            For a pair that would need windows.
        """
        for start in range(0, len(texts), _AT_ONCE):
            some = texts[start : start + _AT_ONCE]
            for text, encoding in zip(some, self._tokenizer.encode_batch(list(some)), strict=True):
                further = encoding.overflowing if self.long == "window" else []
                if further and not isinstance(text, str):
                    raise DataError(
                        f"a pair of texts is longer than {self.max_length} tokens, and has no windows: use "
                        "text: { long: :truncate }"
                    )
                yield [_tokens(part) for part in (encoding, *further)]

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


def padded(texts: Sequence[Tensor], length: int) -> Tensor:
    """Texts (L, …) as a batch (N, length, …): tokens are padded with `PADDING`, hidden states with zeros."""
    dtype = reduce(torch.promote_types, (text.dtype for text in texts))
    filler = 0 if dtype.is_floating_point else PADDING
    batch = torch.full((len(texts), length, *texts[0].shape[1:]), filler, dtype=dtype)
    for row, text in zip(batch, texts, strict=True):
        row[: len(text)] = text
    return batch


def _tokens(encoding: Any) -> Tensor:
    return torch.from_numpy(np.array((encoding.ids, encoding.type_ids), np.int32).T)

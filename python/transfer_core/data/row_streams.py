"""Replace iterables of rows in `data` by named streams, as a recipe requires."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from transfer_core.data import Row

Rows = Iterable[Row]


def name_streams(data: Any) -> tuple[Any, dict[str, Rows]]:
    """Replace each iterable of rows in `data` by a name; return the rows by name as well.

    >>> name_streams({"train": "photos", "test": [{"input": "a.jpg", "label": "cat"}]})
    ({'train': 'photos', 'test': {'stream': 'test'}}, {'test': [{'input': 'a.jpg', 'label': 'cat'}]})
    """
    if not isinstance(data, Mapping):
        return _name(data, "data")
    named = {part: _name(value, part) for part, value in data.items()}
    source = {part: plain for part, (plain, _) in named.items()}
    return source, {name: rows for _, streams in named.values() for name, rows in streams.items()}


def name_domains(words: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Rows]]:
    """The same for `source` and `unlabelled` among the words of a recipe."""
    named = {word: _name(words[word], word) for word in ("source", "unlabelled") if word in words}
    streams = {name: rows for _, found in named.values() for name, rows in found.items()}
    return {**words, **{word: plain for word, (plain, _) in named.items()}}, streams


def rows_of_inputs(data: Any) -> Any:
    """Rows `{"input": …}` of an iterable of inputs; paths and rows stay as they are."""
    if isinstance(data, str | bytes | os.PathLike | Mapping) or not isinstance(data, Iterable):
        return data
    return _each_row(data)


def _each_row(data: Iterable[Any]) -> Iterator[Row]:
    for one in data:
        yield one if isinstance(one, Mapping) and {"input", "problem"} & set(one) else {"input": one}


def _name(data: Any, name: str) -> tuple[Any, dict[str, Rows]]:
    """Name one source; other values pass unchanged, because the recipe parser reports them."""
    if isinstance(data, os.PathLike):
        return os.fspath(data), {}
    if isinstance(data, str | bytes | Mapping) or not isinstance(data, Iterable):
        return data, {}
    return {"stream": name}, {name: data}

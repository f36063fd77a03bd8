"""Rows of data that the caller sends while a method runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from transfer_core.worker.calls import Call

Plain = dict[str, Any]


def sources_of(recipe: Plain) -> Plain:
    """The words of a recipe that hold data."""
    return {word: recipe[word] for word in ("data", "source", "unlabelled") if word in recipe}


def streams_of(call: Call, source: Any, modality: Callable[[], str]) -> dict[str, Iterator[Plain]]:
    """Ruby's rows for every `{stream: id}` in a recipe's `data`; `modality` returns that of their inputs."""
    match source:
        case {"stream": str(id)}:
            return {id: _rows(call, id, modality)}
        case dict():
            return {
                id: rows for part in source.values() for id, rows in streams_of(call, part, modality).items()
            }
    return {}


def _rows(call: Call, id: str, modality: Callable[[], str]) -> Iterator[Plain]:
    yield from call.rows(id, modality())

"""Pairs of a source and a target text, as all readers of parallel text return them."""

from __future__ import annotations

from typing import NamedTuple

# Tasks whose labels are texts.
TEXT_TASKS = ("translation", "text_to_text")


class TextPair(NamedTuple):
    """A source, its target, and the display name of the place that it was read from."""

    source: str
    target: str
    name: str


class PairsRead(NamedTuple):
    """Pairs of a file, and the numbers of entries without one by reason: `untranslated`, `fuzzy`."""

    pairs: list[TextPair]
    left_out: dict[str, int]

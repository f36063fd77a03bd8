"""Text inputs: single texts or pairs (a question and an answer, two sentences)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from transfer_core.data.fingerprint import Fingerprint
from transfer_core.data.groups import Edge
from transfer_core.data.located import Located
from transfer_core.data.near_texts import near_texts
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.limits import excess
from transfer_core.runtime.progress import Progress

Text: TypeAlias = str | tuple[str, str]


class TextModality:
    """See `Modality`."""

    name, one, many = "text", "text", "texts"
    # Equal texts may have different labels.
    has_one_label = False

    def columns(
        self, header: Sequence[str], chosen: str | tuple[str, ...] | None, other: Sequence[str]
    ) -> tuple[str, ...]:
        """One column, usually `text`, or two."""
        columns = chosen if isinstance(chosen, tuple) else (chosen or "text",)
        if len(columns) > 2:
            raise DataError(f"columns.input: a text is one column or two, got {len(columns)}")
        return columns

    def from_cells(
        self, cells: Sequence[Any], columns: Sequence[str], where: str, folder: str, spool: Path
    ) -> Located:
        """The cells of the columns; a missing one is an empty text."""
        texts = [_text("" if cell is None else cell, where) for cell in cells]
        return Located(_joined(texts), where)

    def from_row(self, value: Any, where: str, spool: Path) -> Located:
        """A `str`, or a list of two."""
        texts = [_text(part, where) for part in (value if isinstance(value, list | tuple) else [value])]
        if not 1 <= len(texts) <= 2:
            raise DataError(f"{where}: input is a text or a list of two, got a list of {len(texts)}")
        return Located(_joined(texts), where)

    def fingerprints(self, inputs: Sequence[Any], progress: Progress) -> list[Fingerprint]:
        """The sha256 of the UTF-8 bytes."""
        return [_fingerprint(text) for text in progress.track(inputs, "choose", len(inputs), "texts")]

    def undecodable(self, inputs: Sequence[Any], progress: Progress) -> dict[int, str]:
        """Empty: texts are already read."""
        return {}

    def near_duplicates(self, inputs: Sequence[Any], check: Callable[[], None]) -> list[Edge]:
        """Texts that differ in case, punctuation, links, mentions or a few words."""
        return near_texts(inputs, check)

    def is_one(self, value: Any) -> bool:
        """A `str`, or a tuple of two."""
        return isinstance(value, str | bytes | tuple)

    def from_caller(self, value: Any, name: str, columns: Sequence[str]) -> Any:
        """A `str`, or two."""
        text = self.from_row(value, name, Path()).input
        if problem := _fingerprint(text).problem:
            raise DataError(f"{name}: {problem}")
        return text


def _text(value: Any, where: str) -> str:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise DataError(f"{where}: the text is not valid UTF-8") from None
    if not isinstance(value, str):
        raise DataError(f"{where}: input is a text, not {type(value).__name__}")
    return str(value)


def _joined(texts: Sequence[str]) -> Text:
    return texts[0] if len(texts) == 1 else (texts[0], texts[1])


def _fingerprint(text: Text) -> Fingerprint:
    parts = (text,) if isinstance(text, str) else text
    if not all(part.strip() for part in parts):
        return Fingerprint("", "the text is empty" if len(parts) == 1 else "one of the two texts is empty")
    length = max(map(len, parts))
    if problem := excess("max_text_length", length, f"its {length} characters"):
        return Fingerprint("", problem)
    try:
        # The separator keeps pairs distinct from single texts: it does not occur in texts.
        return Fingerprint(hashlib.sha256("\x1f".join(parts).encode()).hexdigest())
    except UnicodeEncodeError:
        return Fingerprint("", "the text is not valid Unicode")


TEXT = TextModality()

"""What an input is: an image, a text, a row of a table. All that reading data must know of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from transfer_core.data.fingerprint import Fingerprint
from transfer_core.data.groups import Edge
from transfer_core.data.image import IMAGE
from transfer_core.data.located import Located
from transfer_core.data.table import TABLE
from transfer_core.data.text import TEXT
from transfer_core.runtime.progress import Progress


class Modality(Protocol):
    """`one` and `many` are what messages call inputs of this kind.

    An input itself is the path of a file for an image, a `str` or a tuple of two for a text, a tuple of cells
    for a row of a table.
    """

    @property
    def name(self) -> str:
        """`image`, `text` or `table`."""

    @property
    def one(self) -> str:
        """`image`."""

    @property
    def many(self) -> str:
        """`images`."""

    @property
    def has_one_label(self) -> bool:
        """Whether the same input can't rightly have two labels."""

    def columns(
        self, header: Sequence[str], said: str | tuple[str, ...] | None, other: Sequence[str]
    ) -> tuple[str, ...]:
        """The columns of a manifest that hold the input: those that were `said`, or the usual ones; `other`
        columns hold targets and splits."""

    def from_cells(
        self, cells: Sequence[Any], columns: Sequence[str], where: str, folder: str, spool: Path
    ) -> Located:
        """The input of a manifest's row; raises `DataError`."""

    def from_row(self, value: Any, where: str, spool: Path) -> Located:
        """The input that a caller hands over; raises `DataError`."""

    def fingerprints(self, inputs: Sequence[Any], progress: Progress) -> list[Fingerprint]:
        """A digest of each input, or why it can't be used."""

    def undecodable(self, inputs: Sequence[Any], progress: Progress) -> dict[int, str]:
        """The numbers of the inputs with a digest that still can't be decoded, each with the reason."""

    def near_duplicates(self, inputs: Sequence[Any], check: Callable[[], None]) -> list[Edge]:
        """Pairs that connect the near-duplicates; those of images are found later, in their pixels."""

    def is_one(self, value: Any) -> bool:
        """Whether a caller handed over one input, and not several."""

    def from_caller(self, value: Any, name: str, columns: Sequence[str]) -> Any:
        """The input that a caller wants an answer for, called `name`; raises `DataError`."""


MODALITIES: dict[str, Modality] = {modality.name: modality for modality in (IMAGE, TEXT, TABLE)}

"""Modalities: how inputs of each kind (image, text, row of a table) are read and checked."""

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
    """Reading and checks of one kind of input; `one` and `many` are its nouns in messages.

    An image is the path of a file, a text a `str` or a tuple of two, a row of a table a tuple of cells.
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
        """Whether equal inputs with different labels are an error."""

    def columns(
        self, header: Sequence[str], chosen: str | tuple[str, ...] | None, other: Sequence[str]
    ) -> tuple[str, ...]:
        """The input columns of a manifest.

        Parameters
        ----------
        header
            All columns.
        chosen
            The input columns of the recipe; None for the defaults.
        other
            Target and split columns.
        """

    def from_cells(
        self, cells: Sequence[Any], columns: Sequence[str], where: str, folder: str, spool: Path
    ) -> Located:
        """Convert the cells of a manifest row to an input.

        Parameters
        ----------
        cells, columns
            Values and names of the input columns.
        where
            The display name of the row.
        folder
            The folder of the manifest.
        spool
            Temporary directory for embedded images.

        Raises
        ------
        DataError
            The cells are not an input of this kind.
        """

    def from_row(self, value: Any, where: str, spool: Path) -> Located:
        """Convert the `input` of a streamed row; raises `DataError`."""

    def fingerprints(self, inputs: Sequence[Any], progress: Progress) -> list[Fingerprint]:
        """Compute a digest of each input, or the reason that it can't be used."""

    def undecodable(self, inputs: Sequence[Any], progress: Progress) -> dict[int, str]:
        """Decode all inputs; map the number of each that fails to the reason."""

    def near_duplicates(self, inputs: Sequence[Any], check: Callable[[], None]) -> list[Edge]:
        """Pairs of near-duplicates; empty for images, which are compared once they are decoded."""

    def is_one(self, value: Any) -> bool:
        """Whether `value` is a single input rather than several."""

    def from_caller(self, value: Any, name: str, columns: Sequence[str]) -> Any:
        """Convert an input to predict, with the display name `name`; raises `DataError`."""


MODALITIES: dict[str, Modality] = {modality.name: modality for modality in (IMAGE, TEXT, TABLE)}

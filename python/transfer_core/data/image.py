"""Image inputs: files, or bytes written to temporary files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from transfer_core.data.fingerprint import Fingerprint, fingerprints
from transfer_core.data.groups import Edge
from transfer_core.data.located import Located
from transfer_core.data.spooled import spool_bytes
from transfer_core.data.undecodable import undecodable
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.progress import Progress


class ImageModality:
    """See `Modality`."""

    name, one, many = "image", "image", "images"
    # An image with two labels is a labelling error.
    has_one_label = True

    def columns(
        self, header: Sequence[str], chosen: str | tuple[str, ...] | None, other: Sequence[str]
    ) -> tuple[str, ...]:
        """One column, usually `path`."""
        if isinstance(chosen, tuple) and len(chosen) != 1:
            raise DataError(f"columns.input: an image is one column, got {len(chosen)}")
        return chosen if isinstance(chosen, tuple) else (chosen or "path",)

    def from_cells(
        self, cells: Sequence[Any], columns: Sequence[str], where: str, folder: str, spool: Path
    ) -> Located:
        """A path relative to the manifest; or an image's bytes, bare or in a Hugging Face image struct."""
        (image,) = cells
        if isinstance(image, Mapping):
            image = image.get("bytes") or image.get("path")
        if isinstance(image, bytes):
            return Located(spool_bytes(image, spool), where)
        if isinstance(image, str) and image.strip():
            file = os.path.join(folder, image.strip())
            return Located(file, f"{where} ({file})")
        raise DataError(f"{where}: {columns[0]} is empty, expected the path of an image")

    def from_row(self, value: Any, where: str, spool: Path) -> Located:
        """A path, or the bytes of an encoded image, which are written to `spool`."""
        if isinstance(value, bytes | bytearray | memoryview):
            return Located(spool_bytes(bytes(value), spool), where)
        if isinstance(value, str | os.PathLike):
            path = os.fspath(value)
            return Located(path, f"{where} ({path})")
        raise DataError(f"{where}: input is a path or the bytes of an image, not {type(value).__name__}")

    def fingerprints(self, inputs: Sequence[Any], progress: Progress) -> list[Fingerprint]:
        """The sha256 of the files' bytes."""
        return fingerprints(inputs, progress)

    def undecodable(self, inputs: Sequence[Any], progress: Progress) -> dict[int, str]:
        """Damaged and truncated files; each is decoded."""
        return undecodable(inputs, progress)

    def near_duplicates(self, inputs: Sequence[Any], check: Callable[[], None]) -> list[Edge]:
        """Empty: images are compared later, when they are decoded for the embedding."""
        return []

    def is_one(self, value: Any) -> bool:
        """A path or bytes."""
        return isinstance(value, str | bytes | bytearray | memoryview | os.PathLike)

    def from_caller(self, value: Any, name: str, columns: Sequence[str]) -> Any:
        """A path as `str`, or bytes."""
        if not self.is_one(value):
            raise DataError(f"{name}: expected a path or the bytes of an image, not {type(value).__name__}")
        if value == "":
            raise DataError(f"{name}: its path is empty")
        return os.fspath(value) if isinstance(value, str | os.PathLike) else bytes(value)


IMAGE = ImageModality()

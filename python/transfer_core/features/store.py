"""Embeddings that were computed before, by content: the same photo is never embedded twice.

One sqlite file. It is safe after a crash and with several processes at once because sqlite is. A store that
can't be used (read-only folder, full disk, damaged file) costs time, never a result.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from transfer_core.paths import cache

# A rowid table: rows of 5 KB make a WITHOUT ROWID tree deep, and writing it three times as slow.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS rows (
  extractor TEXT NOT NULL, image TEXT NOT NULL, row BLOB NOT NULL, checksum INTEGER NOT NULL,
  PRIMARY KEY (extractor, image)
)
"""
_LOOK_UP = 500


class FeatureStore:
    """Rows by the extractor's fingerprint and the image's key; opened for each use, held by nobody."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or cache() / "features.sqlite"

    def find(self, extractor: str, images: Sequence[str], width: int) -> dict[str, Tensor]:
        """The stored embeddings (`width`,) among `images`, without those that are not as they were stored."""
        found: dict[str, Tensor] = {}
        try:
            with closing(self._open()) as db:
                for start in range(0, len(images), _LOOK_UP):
                    keys = images[start : start + _LOOK_UP]
                    for image, row, checksum in db.execute(_query(len(keys)), (extractor, *keys)):
                        whole = isinstance(row, bytes) and len(row) == 4 * width
                        if whole and checksum == _checksum(extractor, image, row):
                            found[image] = torch.from_numpy(np.frombuffer(row, np.float32).copy())
        except sqlite3.DatabaseError as error:
            self._mend(error)
        except OSError:
            pass
        return found

    def add(self, extractor: str, rows: Iterable[tuple[str, Tensor]]) -> None:
        """Store embeddings by image key, all of them or none."""
        values = []
        for image, tensor in rows:
            row = tensor.numpy().astype(np.float32).tobytes()
            values.append((extractor, image, row, _checksum(extractor, image, row)))
        try:
            with closing(self._open()) as db, db:
                db.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?)", values)
        except sqlite3.DatabaseError as error:
            self._mend(error)
        except OSError:
            pass

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(self.path, timeout=10)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute(_SCHEMA)
        except BaseException:
            db.close()
            raise
        return db

    def _mend(self, error: sqlite3.DatabaseError) -> None:
        """Begin anew where the file is damaged; busy, full or read-only ones may be well next time."""
        if isinstance(error, sqlite3.OperationalError):
            return
        for suffix in ("-wal", "-shm", ""):
            with suppress(OSError):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)


def _query(images: int) -> str:
    marks = ",".join("?" * images)
    return f"SELECT image, row, checksum FROM rows WHERE extractor = ? AND image IN ({marks})"


def _checksum(extractor: str, image: str, row: bytes) -> int:
    """sqlite notices most damage, but not a changed byte within a row."""
    return crc32(row, crc32(f"{extractor}/{image}".encode()))

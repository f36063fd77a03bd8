"""Embeddings that were computed before, by content: the same photo is never embedded twice.

One sqlite file. It is safe after a crash and with several processes at once because sqlite is. A store that
can't be used (read-only folder, full disk, damaged file) costs time, never a result.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from transfer_core.paths import cache

_SCHEMA = """
CREATE TABLE IF NOT EXISTS embeddings (
  extractor TEXT NOT NULL, image TEXT NOT NULL, row BLOB NOT NULL,
  PRIMARY KEY (extractor, image)
) WITHOUT ROWID
"""
_LOOK_UP = 500


class FeatureStore:
    """Rows by the extractor's fingerprint and the image's key; opened for each use, held by nobody."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or cache() / "features.sqlite"

    def find(self, extractor: str, images: Sequence[str]) -> dict[str, Tensor]:
        """The stored embeddings (D,) among `images`."""
        found: dict[str, Tensor] = {}
        try:
            with closing(self._open()) as db:
                for start in range(0, len(images), _LOOK_UP):
                    keys = images[start : start + _LOOK_UP]
                    marks = ",".join("?" * len(keys))
                    query = f"SELECT image, row FROM embeddings WHERE extractor = ? AND image IN ({marks})"
                    for image, row in db.execute(query, (extractor, *keys)):
                        found[image] = torch.from_numpy(np.frombuffer(row, np.float32).copy())
        except sqlite3.DatabaseError as error:
            self._mend(error)
        except OSError:
            pass
        return found

    def add(self, extractor: str, rows: Iterable[tuple[str, Tensor]]) -> None:
        """Store embeddings by image key, all of them or none."""
        values = [(extractor, image, row.numpy().astype(np.float32).tobytes()) for image, row in rows]
        try:
            with closing(self._open()) as db, db:
                db.executemany("INSERT OR REPLACE INTO embeddings VALUES (?, ?, ?)", values)
        except sqlite3.DatabaseError as error:
            self._mend(error)
        except OSError:
            pass

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(self.path, timeout=10)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute(_SCHEMA)
        return db

    def _mend(self, error: sqlite3.DatabaseError) -> None:
        """Begin anew where the file is damaged; busy, full or read-only ones may be well next time."""
        if isinstance(error, sqlite3.OperationalError):
            return
        for suffix in ("", "-wal", "-shm"):
            with suppress(OSError):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

"""Rows of numbers by content: what was computed for an input once is read the next time.

All rows of a store are in one SQLite file in WAL mode: a crash or a full disk loses at most the rows of the
last transaction. Several processes read and write at once; a process waits for another one for at most a
second, then goes on without the cache.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from transfer_core.cache.database import AT_ONCE, Unusable, database
from transfer_core.cache.housekeeping import make_room
from transfer_core.cache.limit import cache_limit
from transfer_core.cache.rows import SCHEMA, checksum_of, is_intact, note_use

# Bytes of a row beside its content: key, checksum, indexes. The content may fill half of a page.
_ROW_BYTES = 256

Values: TypeAlias = npt.NDArray[Any]


class RowStore:
    """Fixed-width rows of any dtype in the SQLite file `path`; nothing is held open between calls.

    A store that can't be used (read-only directory, full disk, damaged file) or that another user could write
    costs time, never a result.

    Raises
    ------
    ConfigurationError
        If `TRANSFER_CACHE_LIMIT` is not a size.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._limit = cache_limit()

    def read(self, owner: str, keys: Sequence[str], into: Values) -> npt.NDArray[np.bool_]:
        """Copy the stored rows into `into` (N, W), each to the place of its key.

        Parameters
        ----------
        owner
            Identifies how the rows were computed. Rows of another owner, width or dtype are not found.

        Returns
        -------
        (N,), which rows were found. The other rows of `into` are unchanged.
        """
        found = np.zeros(len(keys), np.bool_)
        # Not `Path.exists`: before Python 3.12 it raises where the directory may not be entered.
        if not len(keys) or not os.path.exists(self.path):
            return found
        dtype = into.dtype.newbyteorder("<")
        places: dict[bytes, list[int]] = {}
        for place, key in enumerate(_stored_keys(owner, keys, into)):
            places.setdefault(key, []).append(place)
        stored, batches = list(places), set()
        with suppress(Unusable), database(self.path, SCHEMA) as db:
            for start in range(0, len(stored), AT_ONCE):
                some = stored[start : start + AT_ONCE]
                marks = ",".join("?" * len(some))
                query = f"SELECT key, checksum, content, batch FROM rows WHERE key IN ({marks})"
                for key, checksum, content, batch in db.execute(query, some):
                    if is_intact(key, checksum, content):
                        into[places[key]] = np.frombuffer(content, dtype)
                        found[places[key]] = True
                        batches.add(batch)
            note_use(db, batches)
        return found

    def add(self, owner: str, keys: Sequence[str], rows: Values) -> None:
        """Store `rows` (N, W) under `keys`, then evict the least recently used rows down to the limit of the
        cache."""
        if not len(keys):
            return
        contents = np.ascontiguousarray(rows, rows.dtype.newbyteorder("<"))
        size = len(keys) * (2 * contents[:1].nbytes + _ROW_BYTES)
        with suppress(Unusable), database(self.path, SCHEMA) as db, db:
            added = (size, time.time())
            batch = db.execute("INSERT INTO batches (most_bytes, used_at) VALUES (?, ?)", added).lastrowid
            pairs = zip(_stored_keys(owner, keys, rows), map(np.ndarray.tobytes, contents), strict=True)
            db.executemany(
                "INSERT OR REPLACE INTO rows (key, batch, checksum, content) VALUES (?, ?, ?, ?)",
                ((key, batch, checksum_of(key, content), content) for key, content in pairs),
            )
        make_room(self._limit)


def _stored_keys(owner: str, keys: Sequence[str], rows: Values) -> list[bytes]:
    """Keys that no row of another owner, dtype or width has."""
    layout = sha256(f"{owner} {rows.dtype.newbyteorder('<').str} {rows.shape[1]}\n".encode())
    found = []
    for key in keys:
        hashed = layout.copy()
        hashed.update(key.encode())
        found.append(hashed.digest())
    return found

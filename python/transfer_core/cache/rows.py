"""Schema and upkeep of a file of rows: a table in SQLite whose rows are evicted batch by batch, as added."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Container, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

from transfer_core.cache.database import AT_ONCE, Unusable, database, discard, is_whole

SCHEMA = (
    "CREATE TABLE batches (id INTEGER PRIMARY KEY, most_bytes INTEGER NOT NULL, used_at REAL NOT NULL)",
    "CREATE TABLE rows (key BLOB PRIMARY KEY, batch INTEGER NOT NULL, checksum INTEGER NOT NULL,"
    " content BLOB NOT NULL)",
    "CREATE INDEX rows_of_batch ON rows (batch)",
)
# Time of last use is written at most this often: a read that finds everything needs no write.
USE_NOTED_EVERY_S = 60


class Batch(NamedTuple):
    """Rows of the file at `path` that were added together, which take up to `most_bytes` of it; `used_at` in
    seconds since 1970."""

    used_at: float
    path: Path
    id: int
    most_bytes: int


def is_intact(key: bytes, checksum: Any, content: Any) -> bool:
    """Whether a row is as it was written: SQLite does not notice a changed byte within one."""
    return isinstance(content, bytes) and checksum == checksum_of(key, content)


def checksum_of(key: bytes, content: bytes) -> int:
    """CRC-32 of a row's key and content."""
    return crc32(content, crc32(key))


def note_use(db: sqlite3.Connection, batches: Container[int]) -> None:
    """Set the time of last use of these batches to now, unless another process is writing."""
    now = time.time()
    due = db.execute("SELECT id FROM batches WHERE used_at < ?", (now - USE_NOTED_EVERY_S,))
    if used := [(now, id) for (id,) in due if id in batches]:
        with suppress(sqlite3.OperationalError), db:
            db.executemany("UPDATE batches SET used_at = ? WHERE id = ?", used)


def count_rows(path: Path) -> int | None:
    """The number of rows, or None if the file can't be read now."""
    with suppress(Unusable), database(path, SCHEMA) as db:
        return int(db.execute("SELECT count(*) FROM rows").fetchone()[0])
    return None


def batches_of(path: Path) -> list[Batch]:
    """All batches of a file; none if it can't be read now."""
    with suppress(Unusable), database(path, SCHEMA) as db:
        # In damaged rows, values of another type become 0.
        query = "SELECT CAST(used_at AS REAL), id, CAST(most_bytes AS INTEGER) FROM batches"
        return [Batch(used_at, path, id, size) for used_at, id, size in db.execute(query)]
    return []


def delete_batches(path: Path, batches: Iterable[int]) -> bool:
    """Delete batches and return their room to the file system; False if the file can't be written now."""
    some = [(batch,) for batch in batches]
    with suppress(Unusable), database(path, SCHEMA) as db:
        with db:
            db.executemany("DELETE FROM rows WHERE batch = ?", some)
            db.executemany("DELETE FROM batches WHERE id = ?", some)
        # `execute` would free a single page.
        db.executescript("PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE)")
        return True
    return False


def delete_damaged_rows(path: Path) -> tuple[int, int] | None:
    """Read all rows and delete those that are damaged.

    Returns
    -------
    The numbers of intact and of damaged rows; None if the whole file was damaged and is deleted, or can't be
    read now.
    """
    if not is_whole(path):
        discard(path)
        return None
    with suppress(Unusable), database(path, SCHEMA) as db:
        intact, damaged = 0, []
        for number, key, checksum, content in db.execute("SELECT rowid, key, checksum, content FROM rows"):
            if is_intact(key, checksum, content):
                intact += 1
            else:
                damaged.append((number,))
        with db:
            for start in range(0, len(damaged), AT_ONCE):
                db.executemany("DELETE FROM rows WHERE rowid = ?", damaged[start : start + AT_ONCE])
        return intact, len(damaged)
    return None

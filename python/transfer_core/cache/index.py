"""Where each row stands. It is made from the rows files alone: an index that is lost or behind catches up."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

from transfer_core.cache.database import AT_ONCE
from transfer_core.cache.layout import Layout
from transfer_core.cache.rows import whole_rows

FILE = "index.sqlite"

TABLES = (
    "files (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, rows INTEGER NOT NULL)",
    "rows (key BLOB PRIMARY KEY, file INTEGER NOT NULL, number INTEGER NOT NULL) WITHOUT ROWID",
)


def catch_up(db: sqlite3.Connection, files: Mapping[str, Path], layout: Layout) -> None:
    """Enter the rows of these files that are not entered yet; each file is read from where the index ends.

    After it no file is taken for longer than it is. A file that can't be read is passed over.
    """
    counts = db.execute("SELECT name, rows FROM files")
    entered = {name: rows for name, rows in counts if isinstance(rows, int) and rows >= 0}
    for name, path in files.items():
        try:
            count = layout.rows_in(path.stat().st_size)
            first = min(entered.get(name, 0), count)
            if first == count == entered.get(name):
                continue
            keys = [(row.key, row.number) for row in whole_rows(path, layout, range(first, count))]
        except OSError:
            continue
        with db:
            db.execute(
                "INSERT INTO files (name, rows) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET rows = ?",
                (name, count, count),
            )
            db.executemany(
                "INSERT OR REPLACE INTO rows SELECT ?, id, ? FROM files WHERE name = ?",
                ((key, number, name) for key, number in keys),
            )


def look_up(db: sqlite3.Connection, keys: Sequence[bytes]) -> dict[str, dict[int, bytes]]:
    """By file, the numbers of the rows with these keys in rising order, and their keys."""
    places: dict[str, dict[int, bytes]] = {}
    for start in range(0, len(keys), AT_ONCE):
        some = keys[start : start + AT_ONCE]
        marks = ",".join("?" * len(some))
        query = f"SELECT key, name, number FROM rows JOIN files ON file = id WHERE key IN ({marks})"
        for key, name, number in db.execute(query, some):
            if isinstance(number, int) and number >= 0:
                places.setdefault(name, {})[number] = key
    return {name: dict(sorted(rows.items())) for name, rows in places.items()}


def forget(db: sqlite3.Connection, keys: Sequence[bytes]) -> None:
    """Strike out rows that are not where the index says."""
    if keys:
        with db:
            db.executemany("DELETE FROM rows WHERE key = ?", ((key,) for key in keys))


def forget_files(db: sqlite3.Connection, folder: Path) -> None:
    """Strike out the files that are gone, with their rows."""
    known = db.execute("SELECT id, name FROM files")
    gone = [(id,) for id, name in known if not (folder / str(name)).exists()]
    if gone:
        with db:
            db.executemany("DELETE FROM rows WHERE file = ?", gone)
            db.executemany("DELETE FROM files WHERE id = ?", gone)

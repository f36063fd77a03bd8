"""Expendable SQLite databases: a damaged one, or one of another schema, is replaced by an empty one."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from transfer_core.runtime.permissions import FILE, exposure, make_directory

SUFFIX = ".sqlite"
# A process that was stopped during a write must not block the others for long. With 16 processes that write
# all the time on two cores, the longest wait was 0.7 s.
PATIENCE_S = 1
# SQLite accepts at least 999 values in one statement.
AT_ONCE = 500


class Unusable(Exception):
    """The database is locked, full, read-only or damaged, or another user can write to it. A damaged database
    has been deleted."""


@contextmanager
def database(path: Path, schema: Sequence[str]) -> Iterator[sqlite3.Connection]:
    """Connect to the database at `path`, made by exactly the `CREATE` statements of `schema`.

    Raises
    ------
    Unusable
        If it can't be opened, or instead of any SQLite error raised in the block.
    """
    try:
        try:
            db = _open(path, schema)
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
            discard(path)
            db = _open(path, schema)
    except (sqlite3.Error, OSError) as error:
        raise Unusable(str(error)) from error
    try:
        with closing(db):
            yield db
    except sqlite3.Error as error:
        if _is_damage(error):
            discard(path)
        raise Unusable(str(error)) from error


def is_whole(path: Path) -> bool:
    """Whether SQLite's check finds no damage; a database that is in use counts as whole."""
    try:
        with closing(sqlite3.connect(path, timeout=PATIENCE_S)) as db:
            return list(db.execute("PRAGMA quick_check(1)")) == [("ok",)]
    except sqlite3.DatabaseError as error:
        return not _is_damage(error)


def discard(path: Path) -> None:
    """Delete the database, its log first: a log must never be replayed into the next database."""
    for suffix in ("-wal", "-shm", ""):
        with suppress(OSError):
            path.with_name(path.name + suffix).unlink(missing_ok=True)


def _open(path: Path, schema: Sequence[str]) -> sqlite3.Connection:
    make_directory(path.parent)
    if found := exposure(path):
        raise OSError(str(found))
    # SQLite would create a file with the permissions that the umask leaves; its log copies those of the file.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE))
    db = sqlite3.connect(path, timeout=PATIENCE_S)
    try:
        # Text that damage made undecodable is a wrong row, not an error.
        db.text_factory = lambda raw: raw.decode(errors="replace")
        if not path.stat().st_size:  # a database has this from its beginning, or never
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        _create(db, schema)
    except BaseException:
        db.close()
        raise
    return db


def _create(db: sqlite3.Connection, schema: Sequence[str]) -> None:
    if _schema_of(db) == list(schema):
        return
    with db:
        db.execute("BEGIN IMMEDIATE")  # another process may have created it meanwhile
        found = _schema_of(db)
        if found and found != list(schema):
            raise sqlite3.DatabaseError("the schema differs")
        for statement in () if found else schema:
            db.execute(statement)


def _schema_of(db: sqlite3.Connection) -> list[str]:
    query = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid"
    return [sql for (sql,) in db.execute(query)]


def _is_damage(error: sqlite3.Error) -> bool:
    """Whether SQLite reports damage: busy, full and read-only are the subclass `OperationalError`."""
    return type(error) is sqlite3.DatabaseError

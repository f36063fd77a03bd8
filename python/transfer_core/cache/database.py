"""A sqlite database that may be thrown away: one that is damaged, or no longer ours, is made anew."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from transfer_core.runtime.permissions import FILE, exposure, make_directory

# A process that was stopped in the middle of a write must not stop the others for long. Of 16 that write all
# the time, on two cores, the unluckiest waits 0.7 s.
PATIENCE_S = 1
# sqlite takes at least 999 values in one statement.
AT_ONCE = 500


class Unusable(Exception):
    """The database can't be used now: locked, full, read-only, damaged, or another user could write it.
    What was damaged is gone by then."""


@contextmanager
def database(path: Path, tables: Sequence[str]) -> Iterator[sqlite3.Connection]:
    """A connection to the database at `path`, which has exactly `tables` (as after `CREATE TABLE`).

    Raises
    ------
    Unusable
        When it is opened, or in place of whatever sqlite raises in the block.
    """
    try:
        try:
            db = _open(path, tables)
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
            discard(path)
            db = _open(path, tables)
    except (sqlite3.Error, OSError) as error:
        raise Unusable(str(error)) from error
    try:
        with closing(db):
            yield db
    except sqlite3.Error as error:
        if _is_damage(error):
            discard(path)
        raise Unusable(str(error)) from error


@contextmanager
def database_in_memory(tables: Sequence[str]) -> Iterator[sqlite3.Connection]:
    """The same, empty, for where none can be kept."""
    with closing(sqlite3.connect(":memory:")) as db:
        _create(db, tables)
        yield db


def is_whole(path: Path) -> bool:
    """Whether sqlite finds no fault in all of it; one that is in use is not looked at."""
    try:
        with closing(sqlite3.connect(path, timeout=PATIENCE_S)) as db:
            return list(db.execute("PRAGMA quick_check(1)")) == [("ok",)]
    except sqlite3.DatabaseError as error:
        return not _is_damage(error)


def discard(path: Path) -> None:
    """Delete the database, its log first: a log without its database is not replayed into the next one."""
    for suffix in ("-wal", "-shm", ""):
        with suppress(OSError):
            path.with_name(path.name + suffix).unlink(missing_ok=True)


def _open(path: Path, tables: Sequence[str]) -> sqlite3.Connection:
    make_directory(path.parent)
    if found := exposure(path):
        raise OSError(str(found))
    # sqlite would give a new file the permissions that the umask leaves; its log has those of the file.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE))
    db = sqlite3.connect(path, timeout=PATIENCE_S)
    try:
        # Text that damage made undecodable is a row that is wrong, not an error.
        db.text_factory = lambda raw: raw.decode(errors="replace")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        _create(db, tables)
    except BaseException:
        db.close()
        raise
    return db


def _create(db: sqlite3.Connection, tables: Sequence[str]) -> None:
    expected = [f"CREATE TABLE {table}" for table in tables]
    query = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid"
    found = [sql for (sql,) in db.execute(query)]
    if found == expected:
        return
    if found and found != expected[: len(found)]:
        raise sqlite3.DatabaseError("tables of another kind")
    with db:
        for table in tables:
            db.execute(f"CREATE TABLE IF NOT EXISTS {table}")


def _is_damage(error: sqlite3.Error) -> bool:
    """sqlite's own word for it: busy, full and read-only are the subclass `OperationalError`."""
    return type(error) is sqlite3.DatabaseError

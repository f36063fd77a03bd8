"""Rows by content: whoever computed them, and what they were computed from.

A folder of rows files, and an index that says where in them each row stands. A row is in its file before it
is in the index, and the index can be made anew from the files: a crash costs at most the row it cut in two.
Several processes may read and write at once; none waits for another's rows, and for the index a second at
most.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from transfer_core.cache import index
from transfer_core.cache.database import Unusable, database, database_in_memory
from transfer_core.cache.housekeeping import make_room
from transfer_core.cache.layout import Layout, Values
from transfer_core.cache.limit import cache_limit
from transfer_core.cache.rows import append, opened_to_append, whole_rows
from transfer_core.runtime.permissions import exposure, make_directory

# The unit of eviction: small beside the limit, large enough for a dataset to be in few files.
_FULL_BYTES = 16 << 20
_PARTS_OF_LIMIT = 8


class RowStore:
    """Fixed-width rows of any dtype in `folder`; nothing is held open between calls.

    A store that can't be used (read-only folder, full disk, damaged file) or that another user could write
    costs time, never a result.

    Raises
    ------
    ConfigurationError
        If `TRANSFER_CACHE_LIMIT` is no size.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._limit = cache_limit()

    def read(self, owner: str, keys: Sequence[str], into: Values) -> npt.NDArray[np.bool_]:
        """Copy the rows that are known into `into` (N, W), each to the place of its key.

        Parameters
        ----------
        owner
            Names how the rows were computed; rows of other owners, widths and dtypes are others.

        Returns
        -------
        (N,), which rows were known. The others of `into` are as they were.
        """
        layout = Layout.of(owner, into)
        known = np.zeros(len(keys), np.bool_)
        places: dict[bytes, list[int]] = {}
        for place, key in enumerate(keys):
            places.setdefault(layout.key(key), []).append(place)
        files = {} if exposure(self.folder) else layout.files(self.folder)

        def copy_known(db: sqlite3.Connection) -> None:
            index.catch_up(db, files, layout)
            for name, rows in index.look_up(db, list(places)).items():
                with suppress(OSError, KeyError):  # deleted by another process, or not readable now
                    found = _copy_rows(files[name], layout, rows, places, into)
                    known[[place for key in found for place in places[key]]] = True
                    index.forget(db, [key for key in rows.values() if key not in found])

        if files:
            self._with_index(copy_known)
        return known

    def add(self, owner: str, keys: Sequence[str], rows: Values) -> None:
        """Store `rows` (N, W) under `keys`; what is there already stays as it is.

        What was used least recently makes room, of everything in the cache.
        """
        if not len(keys):
            return
        layout = Layout.of(owner, rows)
        numbers = {layout.key(key): number for number, key in enumerate(keys)}

        def store(db: sqlite3.Connection) -> None:
            index.forget_files(db, self.folder)
            index.catch_up(db, layout.files(self.folder), layout)
            found = index.look_up(db, list(numbers)).values()
            there = {key for rows in found for key in rows.values()}
            new = [key for key in numbers if key not in there]
            if new:
                self._append(layout, new, rows[[numbers[key] for key in new]])
                index.catch_up(db, layout.files(self.folder), layout)

        with suppress(OSError):
            make_directory(self.folder)
            if exposure(self.folder):
                return
            self._with_index(store)
        make_room(self._limit)

    def _append(self, layout: Layout, keys: Sequence[bytes], rows: Values) -> None:
        full = min(_FULL_BYTES, self._limit // _PARTS_OF_LIMIT)
        with opened_to_append(self.folder, layout, full) as (descriptor, _):
            append(descriptor, layout, layout.records(keys, rows))

    def _with_index(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """Do `work` with the index; where it can't be used, again with one in memory, made from the files."""
        try:
            with database(self.folder / index.FILE, index.TABLES) as db:
                work(db)
        except Unusable:
            with database_in_memory(index.TABLES) as db:
                work(db)


def _copy_rows(
    path: Path,
    layout: Layout,
    rows: Mapping[int, bytes],
    places: Mapping[bytes, list[int]],
    into: Values,
) -> set[bytes]:
    """Copy the rows of one file that are what the index says; returns their keys."""
    found: set[bytes] = set()
    for row in whole_rows(path, layout, rows):
        if row.key == rows[row.number]:
            into[places[row.key]] = row.values
            found.add(row.key)
    with suppress(OSError):
        os.utime(path)  # used now: evicted last
    return found

"""Removal of runs: by id, beyond given limits, or by automatic upkeep."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from transfer_core.runs.folder import OWN_FILES, RunFolder
from transfer_core.runs.listing import RunState, describe, find_state, states
from transfer_core.runtime import amounts, paths
from transfer_core.runtime.errors import ConfigurationError
from transfer_core.runtime.limits import size
from transfer_core.runtime.permissions import require_private
from transfer_core.runtime.progress import Progress

DAY_S = 86_400.0
DEFAULT_BYTES, DEFAULT_KEEP_S = 5 * 10**9, 30 * DAY_S
# Automatic upkeep keeps the only copy of a model this many times longer, and removes no run
# for its size within this time.
_LONGER_IF_NOT_SAVED = 3
_NOT_FOR_SIZE_WITHIN_S = 7 * DAY_S
_NAMED = 3


def runs_limit() -> int:
    """Bytes: the value of `TRANSFER_RUNS_LIMIT` (`2GB`, `none`), or 5 GB; raises `ConfigurationError`."""
    variable, example = "TRANSFER_RUNS_LIMIT", "a size such as 5GB"
    return amounts.setting(variable, size, DEFAULT_BYTES, sys.maxsize, example)


def runs_keep() -> float:
    """Seconds: the value of `TRANSFER_RUNS_KEEP` (`30d`, `none`), or 30 days; raises `ConfigurationError`."""
    variable, example = "TRANSFER_RUNS_KEEP", "a time such as 30d"
    return amounts.setting(variable, amounts.seconds, DEFAULT_KEEP_S, math.inf, example)


def remove(id: str) -> dict[str, Any]:
    """Remove a run with its model or its checkpoint; returns its description, as `list_runs` has it.

    Raises
    ------
    ConfigurationError
        There is no such run, a process trains it, or its files can't be removed.
    """
    require_private(paths.runs())
    state = find_state(id)
    described = describe(state)
    try:
        _delete(state.folder)
    except BlockingIOError as error:
        raise ConfigurationError(f"the run {id} is being trained. Fix: cancel the training first") from error
    except OSError as error:
        raise ConfigurationError(f"the run {id} can't be removed: {error.strerror}") from error
    return described


def prune(
    max_bytes: int | None = None, older_than_s: float | None = None, dry_run: bool = False
) -> list[dict[str, Any]]:
    """Remove runs, the least recently used first; never one that is being trained.

    Without arguments, the limits of automatic upkeep apply (`TRANSFER_RUNS_KEEP`, `TRANSFER_RUNS_LIMIT`).

    Parameters
    ----------
    max_bytes
        Remove finished runs, those whose model was saved elsewhere first, then interrupted ones, until all
        runs take at most this many bytes.
    older_than_s
        Remove all runs that were not used for this many seconds.
    dry_run
        Remove nothing.

    Returns
    -------
    The descriptions of the runs that were removed, or would be, as in `list_runs`.

    Raises
    ------
    ConfigurationError
        Another user could write to the directory of the runs.
    """
    require_private(paths.runs())
    found = states()
    if max_bytes is None and older_than_s is None:
        chosen = _due(found, runs_keep(), runs_limit())
    else:
        keep_s = math.inf if older_than_s is None else older_than_s
        chosen = _beyond(found, keep_s, sys.maxsize if max_bytes is None else max_bytes)
    removed = []
    for state in chosen:
        described = describe(state)
        with suppress(OSError):  # a process has begun to resume it
            if not dry_run:
                _delete(state.folder)
            removed.append(described)
    return removed


def upkeep(progress: Progress) -> None:
    """Apply the limits of automatic upkeep, and warn of removed runs."""
    if removed := [run["id"] for run in prune()]:
        names = ", ".join(removed[:_NAMED]) + (", …" if len(removed) > _NAMED else "")
        progress.warning(
            f"removed {len(removed)} of the oldest runs ({names}): they were beyond TRANSFER_RUNS_KEEP or "
            "TRANSFER_RUNS_LIMIT"
        )


def _beyond(found: list[RunState], keep_s: float, limit: int) -> list[RunState]:
    """Runs that were not used for `keep_s`, and as many others as exceed `limit` bytes."""
    old = [state for state in _removable(found) if _age(state) > keep_s]
    left = [state for state in found if state not in old]
    return old + _first(_removable(left), left, limit)


def _due(found: list[RunState], keep_s: float, limit: int) -> list[RunState]:
    """Runs that automatic upkeep removes."""
    old = [
        state
        for state in _removable(found)
        if _age(state) > (keep_s if state.saved else _LONGER_IF_NOT_SAVED * keep_s)
    ]
    left = [state for state in found if state not in old]
    finished = [s for s in _removable(left) if s.status == "finished" and _age(s) > _NOT_FOR_SIZE_WITHIN_S]
    return old + _first(finished, left, limit)


def _first(candidates: Iterable[RunState], found: Iterable[RunState], limit: int) -> list[RunState]:
    """The first candidates whose removal leaves at most `limit` bytes in `found`."""
    excess, chosen = sum(state.bytes for state in found) - limit, []
    for state in candidates:
        if excess > 0:
            chosen.append(state)
            excess -= state.bytes
    return chosen


def _removable(found: Iterable[RunState]) -> list[RunState]:
    """The runs that no process trains and no other user could write, in the order of removal."""
    some = [state for state in found if state.status not in ("running", "untrusted")]
    return sorted(some, key=lambda state: (state.status != "finished", not state.saved, state.used_at))


def _age(state: RunState) -> float:
    return time.time() - state.used_at


def _delete(folder: RunFolder) -> None:
    """Remove the files of the run, and the directory if it is then empty; raises `OSError`."""
    lock = folder.lock()
    with os.fdopen(lock, "wb"):
        folder.sweep()
        for name in OWN_FILES:
            (folder.path / name).unlink(missing_ok=True)
        with suppress(OSError):
            folder.path.rmdir()

"""The runs of this machine: their state, and a description of each."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from transfer_core.model_file.format import read_header
from transfer_core.model_file.usage import SAVED
from transfer_core.runs.checkpoint_file import Damaged, read_position
from transfer_core.runs.folder import FACTS, ID, MODEL, RunFolder
from transfer_core.runtime import paths
from transfer_core.runtime.errors import ConfigurationError, ModelFileError, did_you_mean

STATUSES = ("running", "finished", "interrupted", "damaged", "untrusted")
_GENERATED_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")


@dataclass(frozen=True)
class RunState:
    """State of a run, from the names, sizes and times of its files.

    Parameters
    ----------
    status
        One of `STATUSES`. `interrupted`: it can be resumed; `damaged`: it can't, and has no model;
        `untrusted`: another user could have written to it.
    bytes
        Size of its files.
    used_at
        Seconds since 1970 of its last use.
    saved
        Whether its model was saved elsewhere, too.
    """

    folder: RunFolder
    status: str
    bytes: int
    used_at: float
    saved: bool


def states() -> list[RunState]:
    """The runs in `TRANSFER_HOME`/runs, the oldest first. Other files and directories are not listed."""
    try:
        entries = sorted(paths.runs().iterdir())
    except OSError:
        return []
    return [_state(RunFolder(path)) for path in entries if _is_run(path)]


def list_runs() -> list[dict[str, Any]]:
    """Describe the runs in `TRANSFER_HOME`/runs, the oldest first.

    Returns
    -------
    A dict per run: `id`, `path`, `report` (the path of its page), `status` (`running`, `finished`,
    `interrupted`, `damaged`, `untrusted`), `resumable`, `saved` (its model was saved elsewhere, too),
    `bytes`, `used_at` (seconds since 1970), `created_at` (ISO 8601), `recipe`, `backbone`, `data` (a path),
    and where an interrupted run is: `step`, `epoch`, `epochs`. Unknown values are None.
    """
    return [describe(state) for state in states()]


def resumable() -> list[dict[str, Any]]:
    """The interrupted runs as in `list_runs`, the oldest first."""
    return [run for run in list_runs() if run["resumable"]]


def find_state(id: str) -> RunState:
    """Find the run with this id; raises `ConfigurationError` with the nearest id if there is none."""
    found = states()
    for state in found:
        if state.folder.id == id:
            return state
    nearest = did_you_mean(id, [state.folder.id for state in found])
    raise ConfigurationError(f'there is no run "{id}" in {paths.runs()}{nearest}')


def describe(state: RunState) -> dict[str, Any]:
    """Describe a run as an element of `list_runs`."""
    folder, recipe, created_at, position = state.folder, None, None, None
    if state.status == "finished":
        with suppress(ModelFileError):
            header = read_header(folder.model)
            recipe, created_at = header.recipe, header.created_at
    elif state.status != "untrusted":
        with suppress(ConfigurationError):
            facts = folder.facts
            recipe, created_at = facts.recipe, facts.created_at
        with suppress(Damaged):
            position = read_position(folder.checkpoint)
    return {
        "id": folder.id,
        "path": str(folder.path),
        "report": str(folder.report) if folder.report.is_file() else None,
        "status": state.status,
        "resumable": state.status == "interrupted",
        "saved": state.saved,
        "bytes": state.bytes,
        "used_at": state.used_at,
        "created_at": _time_in(folder.id) or created_at,
        "recipe": recipe,
        "backbone": (recipe or {}).get("backbone"),
        "data": _path_of((recipe or {}).get("data")),
        **{name: getattr(position, name, None) for name in ("step", "epoch", "epochs")},
    }


def _is_run(path: Path) -> bool:
    if path.is_symlink() or not path.is_dir() or not ID.fullmatch(path.name):
        return False
    return bool(_GENERATED_ID.fullmatch(path.name)) or (path / FACTS).exists() or (path / MODEL).exists()


def _state(folder: RunFolder) -> RunState:
    total, used_at = 0, 0.0
    with suppress(OSError):
        used_at = folder.path.stat().st_mtime
        for file in folder.path.iterdir():
            status = file.lstat()
            total, used_at = total + status.st_size, max(used_at, status.st_mtime)
    return RunState(folder, _status(folder), total, used_at, (folder.path / SAVED).exists())


def _status(folder: RunFolder) -> str:
    if folder.exposure:
        return "untrusted"
    if folder.is_held():
        return "running"
    if folder.model.exists():
        return "finished"
    with suppress(ConfigurationError):
        _ = folder.facts
        return "interrupted"
    return "damaged"


def _time_in(id: str) -> str | None:
    """Start time of a run from its generated id; None for another id."""
    with suppress(ValueError):
        began = datetime.strptime(id[:15], "%Y%m%d-%H%M%S")
        return began.replace(tzinfo=timezone.utc).isoformat(timespec="seconds")
    return None


def _path_of(data: Any) -> str | None:
    """The path of a plain source, or of its training part; None for rows."""
    if not isinstance(data, dict):
        return None
    path = data.get("path")
    return path if isinstance(path, str) else _path_of(data.get("train"))

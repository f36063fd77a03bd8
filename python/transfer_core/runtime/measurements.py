"""Persistent cache of performance measurements per machine."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, BinaryIO

from transfer_core.runtime import paths
from transfer_core.runtime.atomic import replacing
from transfer_core.runtime.errors import ConfigurationError
from transfer_core.runtime.permissions import FILE, exposure, make_directory

# Every fine-tuned backbone adds an entry; the oldest are evicted.
_MOST = 1000
# The lock is held for milliseconds; a process stopped while it holds it must not block others for long.
_PATIENCE_S = 1.0


def remembered(key: str, measure: Callable[[], Any]) -> Any:
    """Return `measure()` (plain JSON data), cached per machine type.

    Processes that measure concurrently all get the value that was written first, so that they behave alike.
    If the cache can't be written, or another user could write to it, each process measures once. Without a
    lock (not supported, or held by a stopped process), concurrent writers may differ.
    """
    name = f"{_machine()} | {key}"
    path = paths.cache() / "measurements.json"
    known = _here.get((path, name), _read(path).get(name))
    if known is None:
        measured = measure()
        with _one_at_a_time(path):
            others = _read(path)
            known = others.get(name, measured)
            if name not in others:
                _write(path, {**others, name: known})
    _here[path, name] = known
    return known


def known(beginning: str) -> dict[str, Any]:
    """Cached measurements of this machine type whose keys start with `beginning`, oldest first."""
    names = f"{_machine()} | "
    found = {
        name.removeprefix(names): value for name, value in _read(paths.cache() / "measurements.json").items()
    }
    return {key: value for key, value in found.items() if key.startswith(beginning)}


def adopt(content: bytes) -> None:
    """Prefer the measurements in the bytes of another machine's file, so that both machines behave alike."""
    with suppress(ValueError):
        others = json.loads(content)
        if isinstance(others, dict):
            path = paths.cache() / "measurements.json"
            with _one_at_a_time(path):
                _write(path, {**_read(path), **others})


_here: dict[tuple[Path, str], Any] = {}


@cache
def _machine() -> str:
    """The machine type: processor, number of cores, version of torch."""
    processor = platform.processor() or platform.machine()
    with suppress(OSError):
        names = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        processor = names[0] if names else processor
    try:
        torch = version("torch")
    except PackageNotFoundError:
        torch = "none"
    return f"{processor} x {os.cpu_count()}, torch {torch}"


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Hold a lock between processes; give up waiting after `_PATIENCE_S` seconds."""
    with ExitStack() as held:
        with suppress(OSError):
            make_directory(path.parent)
            # A separate file, because `_write` replaces the other. NFS locks only files open for writing.
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            lock = held.enter_context(os.fdopen(os.open(path.with_suffix(".lock"), flags, FILE), "r+b"))
            limit = time.monotonic() + _PATIENCE_S
            while not _is_ours(lock) and time.monotonic() < limit:
                time.sleep(0.005)
        yield


def _is_ours(lock: BinaryIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(path: Path) -> dict[str, Any]:
    if exposure(path):
        return {}
    try:
        known = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _write(path: Path, known: dict[str, Any]) -> None:
    newest = dict(list(known.items())[-_MOST:])
    with suppress(OSError, ConfigurationError):
        if not exposure(path):
            with replacing(path, FILE) as temporary:
                temporary.write_text(json.dumps(newest, indent=1))

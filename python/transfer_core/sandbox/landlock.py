"""Landlock (Linux 5.13): the files that a thread, and threads started by it later, can open.

Numbers and layouts are those of `include/uapi/linux/landlock.h`.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from transfer_core.sandbox.kernel import no_new_privileges, syscall

# The same on x86_64 and aarch64.
CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_QUERY = 1
_PATH_BENEATH = 1

_WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE = 1 << 1, 1 << 2, 1 << 3, 1 << 14

# Number of file access rights by version of the interface; the last is the newest.
_RIGHTS_BY_VERSION = (0, 13, 14, 15, 15, 16)
# From these versions on: TCP sockets can't bind and connect; no signals to others, no abstract sockets.
_NETWORK_VERSION, _SCOPE_VERSION = 4, 6
_BIND_AND_CONNECT, _SOCKETS_AND_SIGNALS = 0b11, 0b11


def version() -> int:
    """Version of the kernel's Landlock interface; 0 where there is none or it is switched off."""
    with suppress(OSError):
        return syscall(CREATE_RULESET, None, 0, _VERSION_QUERY)
    return 0


def restrict(reads: Iterable[Path], writes: Iterable[Path]) -> None:
    """Deny all access to files but these; also programs, new files and TCP.

    Parameters
    ----------
    reads
        Files, and folders with all that is in them; missing ones are skipped.
    writes
        Existing files that can be read and overwritten.

    Raises
    ------
    OSError
        If the kernel can't.
    """
    found = version()
    rights = (1 << _RIGHTS_BY_VERSION[min(found, len(_RIGHTS_BY_VERSION) - 1)]) - 1
    network = _BIND_AND_CONNECT if found >= _NETWORK_VERSION else 0
    scope = _SOCKETS_AND_SIGNALS if found >= _SCOPE_VERSION else 0
    size = 24 if scope else 16 if network else 8
    attributes = ctypes.create_string_buffer(struct.pack("=QQQ", rights, network, scope)[:size], size)
    ruleset = syscall(CREATE_RULESET, attributes, size, 0)
    try:
        for path in reads:
            _allow(ruleset, path, rights & (_READ_FILE | _READ_DIR))
        for path in writes:
            _allow(ruleset, path, rights & (_READ_FILE | _WRITE_FILE | _TRUNCATE))
        no_new_privileges()
        syscall(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: Path, access: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not path.is_dir():
            access &= ~_READ_DIR
        rule = ctypes.create_string_buffer(struct.pack("=Qi", access, place), 12)
        syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
    finally:
        os.close(place)

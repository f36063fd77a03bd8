"""The two steps of confinement, and the files of a Python process that stay readable."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from transfer_core.sandbox import landlock, resource_limits, seccomp

# Shared libraries, random devices, and CPU information by which libraries select their kernels.
_SYSTEM = (
    *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/nix/store", "/etc/ld.so.cache"),
    *("/dev/null", "/dev/random", "/dev/urandom"),
    *("/proc/cpuinfo", "/proc/meminfo", "/proc/self/cmdline", "/sys/devices/system"),
)
_PACKAGE_FOLDERS = ("site-packages", "dist-packages")


def confine(packages: Iterable[str], reads: Iterable[Path], writes: Iterable[Path]) -> None:
    """Deny this process all files but libraries and those named, sockets, programs and other processes.

    A mechanism that the kernel lacks is skipped.

    Parameters
    ----------
    packages
        Names of the Python packages that are imported later; those beside them can be imported, too.
    reads
        Files and folders that can be read.
    writes
        Existing files that can be read and overwritten, until `freeze`.

    Raises
    ------
    RuntimeError
        If a second thread runs, which Landlock would leave out.
    """
    threads = Path("/proc/self/task")
    if threads.is_dir() and len(list(threads.iterdir())) > 1:
        raise RuntimeError("a process confines itself before it starts threads")
    resource_limits.end_first()
    with suppress(OSError):
        landlock.restrict({*reads, *_library_files(packages)}, writes)
    with suppress(OSError):
        seccomp.forbid_reach()


def freeze(memory: int) -> None:
    """Deny this process to write files, and limit it to `memory` bytes beside the reserve of its libraries.

    A mechanism that the kernel lacks is skipped.
    """
    with suppress(ImportError, OSError, ValueError):  # no `resource` on Windows
        resource_limits.limit(memory)
    with suppress(OSError):
        seccomp.forbid_writing()


def _library_files(packages: Iterable[str]) -> Iterator[Path]:
    yield from map(Path, _SYSTEM)
    yield from (Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    yield from (Path(prefix, "lib") for prefix in (sys.prefix, sys.base_prefix))
    yield from (Path(entry) for entry in sys.path if Path(entry).name in _PACKAGE_FOLDERS)
    for package in packages:
        spec = find_spec(package)
        if spec and spec.origin:
            yield Path(spec.origin).parents[1]
    # This package only: its parent may be a user's project.
    yield Path(__file__).parents[1]

"""Probe the gaps of confinement on this machine: `python -m transfer_core.sandbox.probe`."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from transfer_core.sandbox import confinement
from transfer_core.sandbox.environment import confined_environment

_PATIENCE_S = 60


def gaps() -> list[str]:
    """Names of the `ATTEMPTS` that confinement does not prevent here; empty where it is complete.

    Raises
    ------
    OSError
        If the process that makes the attempts can't be started or fails.
    """
    with tempfile.TemporaryDirectory(prefix="transfer-probe-") as folder:
        inside = Path(folder, "inside")
        inside.write_text("content")
        ran = subprocess.run(
            [sys.executable, "-m", __name__, str(inside)],
            env=confined_environment(),
            cwd="/",
            capture_output=True,
            timeout=_PATIENCE_S,
        )
    if ran.returncode != 0:
        raise OSError(f"the probe ended with status {ran.returncode}")
    found: list[str] = json.loads(ran.stdout)
    return found


def read_a_file(inside: Path) -> None:
    """Read a file that is not among those allowed."""
    inside.read_bytes()


def write_a_file(inside: Path) -> None:
    """Overwrite that file."""
    inside.write_text("changed")


def make_a_file(inside: Path) -> None:
    """Create a file in the same directory."""
    inside.with_name("new").touch(exist_ok=False)


def open_a_socket(inside: Path) -> None:
    """Open a socket, the first step to any connection."""
    socket.socket().close()


def start_a_program(inside: Path) -> None:
    """Start another program."""
    subprocess.run([sys.executable, "--version"], check=True, capture_output=True)


ATTEMPTS: dict[str, Callable[[Path], None]] = {
    "read files": read_a_file,
    "write files": write_a_file,
    "make files": make_a_file,
    "use the network": open_a_socket,
    "start programs": start_a_program,
}


def main(inside: Path) -> None:
    """Print the names of the attempts that succeed in this process, once it is confined."""
    confinement.confine((), (), ())
    confinement.freeze(1 << 30)
    succeeded = []
    for name, attempt in ATTEMPTS.items():
        with suppress(OSError):
            attempt(inside)
            succeeded.append(name)
    print(json.dumps(succeeded))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

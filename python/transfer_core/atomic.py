"""A file appears whole or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from transfer_core.errors import ConfigurationError

# The names of files that have not taken their place: a process that is killed leaves them.
UNFINISHED = ".transfer-*.tmp"


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place when the block ends well, or vanishes.

    What stood at `path` before is there until then, and stays if anything fails; its permissions stay in any
    case. A link is followed.

    Raises
    ------
    ConfigurationError
        The file can't be written: no such folder, a device, no permission, the disk is full.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(UNFINISHED.replace("*", token_hex(8)))
    try:
        if target.is_dir():
            raise ConfigurationError(f"can't save to {path}: it is a folder; add the name of a file")
        if target.exists() and not target.is_file():
            raise ConfigurationError(f"can't save to {path}: it is not a regular file")
        if not target.parent.is_dir():
            raise ConfigurationError(
                f"can't save to {path}: there is no folder {target.parent}; make it first"
            )
        temporary.touch(exist_ok=False)
        mode = stat.S_IMODE((target if target.exists() else temporary).stat().st_mode)
        # Nobody may read meanwhile who may not in the end; but the block must be able to write.
        temporary.chmod(mode | stat.S_IWUSR)
        yield temporary
        # The block may have made the file anew, private: back to what it was, or to what the umask says.
        temporary.chmod(mode)
        _flush(temporary)
        os.replace(temporary, target)
    except OSError as error:
        raise ConfigurationError(f"can't save to {path}: {error.strerror}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    # The file is in place: a folder that can't be flushed is no reason to say otherwise.
    with suppress(OSError):
        _flush(target.parent)


def _flush(path: Path) -> None:
    """Have the disk hold what was written, against a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

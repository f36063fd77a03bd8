"""Write images given as bytes to temporary files."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from transfer_core.runtime.errors import ConfigurationError


def spool_bytes(image: bytes, spool: Path) -> str:
    """Write an encoded image to `spool` under its sha256, unless it exists; returns its path."""
    digest = hashlib.sha256(image).hexdigest()
    target = spool / digest[:2] / digest
    if target.exists():
        return str(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Another process may spool the same image: each writes its own file, and a rename is atomic.
        descriptor, unfinished = tempfile.mkstemp(dir=target.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(image)
            os.replace(unfinished, target)
        except BaseException:
            os.unlink(unfinished)
            raise
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigurationError(f"can't keep streamed images in {spool}: {reason}") from error
    return str(target)

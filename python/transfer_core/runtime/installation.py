"""The commands that install packages into the environment of this interpreter."""

from __future__ import annotations

import json
import shlex
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

# `transfer setup` writes this file into the environment that it manages.
NOTE = "transfer-setup.json"


def note() -> dict[str, Any] | None:
    """The options with which `transfer setup` created this environment; None if it did not."""
    with suppress(OSError, ValueError):
        found = json.loads((Path(sys.prefix) / NOTE).read_bytes())
        return found if isinstance(found, dict) else None
    return None


def install_command(package: str, extra: str = "") -> str:
    """The command that installs an extra of transfer_core, or else the package itself."""
    if extra and (found := note()) is not None:
        broken = extra in found.get("extras", ())
        return f"transfer setup {'--force ' if broken else ''}--extras {extra}"
    return f"{pip_install()} {shlex.quote(f'transfer-core[{extra}]' if extra else package)}"


def repair_command(package: str) -> str:
    """The command that reinstalls a required package."""
    return "transfer setup --force" if note() is not None else f"{pip_install()} --force-reinstall {package}"


def pip_install() -> str:
    """`pip install` of this interpreter."""
    return f"{shlex.quote(sys.executable or 'python')} -m pip install"

"""Environment variables of a confined process; the untrusted network can read them."""

from __future__ import annotations

import os
from pathlib import Path

_NAMES = ("HOME", "LANG", "PATH", "TMPDIR", "TZ", "VIRTUAL_ENV")
_PREFIXES = ("DNNL_", "KMP_", "LC_", "LD_", "MALLOC_", "OMP_", "PYTHON", "TF_")


def confined_environment() -> dict[str, str]:
    """Variables that Python and numerical libraries need; others may be secrets."""
    known = (name for name in os.environ if name in _NAMES or name.startswith(_PREFIXES))
    return {**{name: os.environ[name] for name in known}, **own_package()}


def own_package() -> dict[str, str]:
    """Variables with which a new Python finds this package in any directory, and writes no bytecode."""
    folders = (str(Path(__file__).parents[2]), *os.environ.get("PYTHONPATH", "").split(os.pathsep))
    path = os.pathsep.join(os.path.abspath(folder) for folder in folders if folder)
    return {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}

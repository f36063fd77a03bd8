"""The version of the core, equal to the gem's, and of the numeric libraries."""

from __future__ import annotations

import platform
from importlib.metadata import version

__version__ = "0.1.0"


def library_versions() -> dict[str, str]:
    """Name to version of the libraries that results depend on."""
    packages = {name: version(name) for name in ("torch", "torchvision", "numpy", "pillow")}
    return {"transfer_core": __version__, "python": platform.python_version(), **packages}

"""Files among the tensors of a backbone, each as a tensor of bytes; no torch here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

PREFIX = "assets."


def files_in(tensors: Mapping[str, Any]) -> dict[str, bytes]:
    """Extract the files from the tensors of a backbone (of torch on the CPU, or of numpy), by name."""
    return {
        unescaped(name.removeprefix(PREFIX)): np.asarray(tensor).tobytes()
        for name, tensor in tensors.items()
        if name.startswith(PREFIX)
    }


def escaped(name: str) -> str:
    """Escape dots, which names of buffers can't contain."""
    return name.replace("%", "%25").replace(".", "%2E")


def unescaped(name: str) -> str:
    """Reverse `escaped`."""
    return name.replace("%2E", ".").replace("%25", "%")

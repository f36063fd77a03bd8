"""Describe an ONNX file in a confined process: `python -m …onnx_description_process SETTINGS`.

Reads the file from standard input; prints the description, or an error, as JSON.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from typing import Any

from transfer_core.backbones.untrusted import LARGEST_SIZE
from transfer_core.runtime.errors import TransferError
from transfer_core.sandbox.confinement import confine, freeze

_PACKAGES = ("onnxruntime", "numpy")
_WORDS = ("size", "resize", "mean", "std", "interpolation")
# For graphs that accept any size.
_USUAL_SIZE = 224


def main(settings: dict[str, Any]) -> None:
    """Print the description of the file in standard input.

    Parameters
    ----------
    settings
        `name`, for errors; `memory`, the limit in bytes.
    """
    confine(_PACKAGES, (), ())
    freeze(settings["memory"])
    try:
        found = described(sys.stdin.buffer.read(), settings["name"])
    except TransferError as error:
        found = {"error": type(error).__name__, "message": str(error)}
    print(json.dumps(found))


def described(content: bytes, name: str) -> dict[str, Any]:
    """The fields of `onnx_description.Description`."""
    import numpy as np

    from transfer_core.backbones.onnx.onnx_graph import open_graph

    graph = open_graph(content, name)
    declared = {word: _value(text) for word, text in graph.metadata.items() if word in _WORDS}
    size = declared.get("size")
    side = graph.images.side or (size if isinstance(size, int) and 0 < size <= LARGEST_SIZE else _USUAL_SIZE)
    embedding = graph.run(np.zeros((1, 3, side, side), np.float32))
    interface = {
        "size": graph.images.side,
        "levels": graph.images.type is np.uint8,
        "width": embedding.shape[1],
    }
    return {"declared": declared, "interface": interface}


def _value(text: str) -> Any:
    """Parse `224` and `[0.5, 0.5, 0.5]` as numbers."""
    with suppress(ValueError, RecursionError):
        return json.loads(text)
    return text


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

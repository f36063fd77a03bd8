"""Run a SavedModel in a separate process: `python -m …tensorflow_server SETTINGS`.

Loads the SavedModel, writes a description of its input and output to standard output and, for each batch of
images from standard input, the embeddings (`tensorflow_wire.py`). An error is written there, too, and ends
the process. Without trust the process is confined and the SavedModel reduced to allowed operations before
TensorFlow loads it.

In one process, TensorFlow and torch would compete for cores and memory.
"""

from __future__ import annotations

import json
import os
import select
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, Any

from transfer_core.backbones.tensorflow.saved_model import GRAPH
from transfer_core.sandbox.confinement import confine, freeze

_WATCH_MS = 1000
_LONGEST_MESSAGE = 500
_PACKAGES = ("tensorflow", "numpy")


def main(settings: dict[str, Any]) -> None:
    """Serve batches until standard input ends.

    Parameters
    ----------
    settings
        `folder` of the SavedModel; `size` of the images if it accepts any; `trust`; without it, the limit of
        `memory` in bytes.
    """
    answers = take_standard_output()
    folder = Path(settings["folder"])
    if not settings["trust"]:
        confine(_PACKAGES, [folder], [folder / GRAPH])
        # Libraries read settings and write files there when they are imported.
        os.environ["HOME"] = tempfile.tempdir = str(folder)
    threading.Thread(target=leave_with_parent, args=(os.getppid(),), daemon=True).start()
    # numpy starts threads when it is imported, so not before `confine`.
    from transfer_core.backbones.tensorflow.tensorflow_wire import (
        read_array,
        read_words,
        send_array,
        send_words,
    )

    # Graphs don't need Keras, whose import is a third of TensorFlow's.
    sys.modules["keras"] = None  # type: ignore[assignment]
    try:
        from transfer_core.backbones.tensorflow.graph_endpoint import clean_folder, open_endpoint

        if not settings["trust"]:
            clean_folder(folder)
            freeze(settings["memory"])
        endpoint = open_endpoint(folder, settings["size"])
        send_words(answers, endpoint.description)
        while (request := read_words(sys.stdin.buffer)) is not None:
            images = read_array(sys.stdin.buffer, request["shape"])
            if images is not None:
                send_array(answers, endpoint.run(images))
    except Exception as error:
        send_words(answers, {"error": type(error).__name__, "message": _short(error)})


def take_standard_output() -> IO[bytes]:
    """Duplicate standard output for replies; what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def leave_with_parent(parent: int) -> None:
    """End this process when the one that started it has ended, even in the middle of a computation.

    Not by PR_SET_PDEATHSIG, which watches the thread that started the process (prctl(2)): such threads end
    long before the process does.
    """
    input_closed = select.poll()
    input_closed.register(0, 0)
    while not input_closed.poll(_WATCH_MS):
        # A process forked off the parent may still hold the other end open.
        if os.getppid() != parent:
            break
    os._exit(0)


def _short(error: Exception) -> str:
    """The message in one line, shortened: TensorFlow appends pages of graph."""
    message = " ".join(str(error).split())
    return (
        f"{message[:_LONGEST_MESSAGE]}…"
        if len(message) > _LONGEST_MESSAGE
        else message or type(error).__name__
    )


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

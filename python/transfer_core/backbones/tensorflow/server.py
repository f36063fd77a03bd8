"""TensorFlow in a process of its own: `python -m transfer_core.backbones.tensorflow.server SETTINGS`.

It loads a SavedModel, says what that takes and gives, and answers each batch of images that comes to
standard input with embeddings on standard output (`wire.py`). What goes wrong is told there, too,
and ends it.

Beside torch in one process, TensorFlow would compete with it for cores and memory.
"""

from __future__ import annotations

import json
import os
import select
import sys
import threading
from pathlib import Path
from typing import IO, Any

from transfer_core.backbones.tensorflow.wire import read_array, read_words, send_array, send_words

_WATCH_MS = 1000
_LONGEST_MESSAGE = 500


def main(settings: dict[str, Any]) -> None:
    """Answer until standard input ends.

    Parameters
    ----------
    settings
        `folder`; `size`, of images where the SavedModel takes any; `trust`.
    """
    answers = take_standard_output()
    threading.Thread(target=leave_with_parent, args=(os.getppid(),), daemon=True).start()
    # A graph needs nothing of Keras, whose import is a third of TensorFlow's.
    sys.modules["keras"] = None  # type: ignore[assignment]
    try:
        from transfer_core.backbones.tensorflow.endpoint import open_endpoint

        folder = Path(settings["folder"])
        endpoint = open_endpoint(folder, settings["size"], settings["trust"])
        send_words(answers, endpoint.description)
        while (request := read_words(sys.stdin.buffer)) is not None:
            images = read_array(sys.stdin.buffer, request["shape"])
            if images is not None:
                send_array(answers, endpoint.run(images))
    except Exception as error:
        send_words(answers, {"error": type(error).__name__, "message": _short(error)})


def take_standard_output() -> IO[bytes]:
    """What was standard output, for answers alone: whatever libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def leave_with_parent(parent: int) -> None:
    """End this process when the one that started it is gone, even in the middle of a computation.

    Not by PR_SET_PDEATHSIG: that is about the parent's thread (prctl(2)), and threads that bring batches end
    long before the process does.
    """
    input_closed = select.poll()
    input_closed.register(0, 0)
    while not input_closed.poll(_WATCH_MS):
        # Someone else may hold the other end open: a process that was forked off the one that is gone.
        if os.getppid() != parent:
            break
    os._exit(0)


def _short(error: Exception) -> str:
    """One line: TensorFlow's messages go on with pages of graph."""
    said = " ".join(str(error).split())
    return f"{said[:_LONGEST_MESSAGE]}…" if len(said) > _LONGEST_MESSAGE else said or type(error).__name__


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

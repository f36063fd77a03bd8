"""The saved models that were used last, kept in memory."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transfer_core.model import Model

MOST_MODELS = 4

_Key = tuple[str, int, int]
_models: OrderedDict[_Key, Model] = OrderedDict()
_lock = threading.Lock()


def open_model(path: str) -> Model:
    """The model saved at `path`; read again when the file has changed."""
    from transfer_core.model import load_model

    with _lock:
        key = _identity(path)
        if key is None:
            return load_model(path)  # raises, with the message for this
        if key not in _models:
            _models[key] = load_model(path)
            while len(_models) > MOST_MODELS:
                _models.popitem(last=False)
        _models.move_to_end(key)
        return _models[key]


def _identity(path: str) -> _Key | None:
    """What tells one version of a file from another, None if it can't be reached."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return os.path.realpath(path), status.st_mtime_ns, status.st_size

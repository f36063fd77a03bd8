"""Journal of a run on a cluster: its events and its outcome, in one file of the shared storage.

The job replaces the file at most twice a second, and the client reads it. A later event of progress replaces
the one before, so that the file stays small, and a client that comes back reads all that matters.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from transfer_core.distributed.storage import Storage
from transfer_core.runtime import errors
from transfer_core.runtime.errors import Cancelled, DataError, Problem, RecipeError, TransferError
from transfer_core.runtime.progress import Event

FILE = "events.json"
# The file that shows that the storage is shared.
NONCE = "nonce"
# A job prints an error that it can't write into the storage behind this word.
MARK = "transfer-error:"
_EVENTS = ("run", "stage", "progress", "epoch", "warning", "overall")
# Of these only the last counts.
_LATEST = ("progress", "overall")
_MOST_BYTES = 16 << 20
_PAUSE_S = 0.5


class JournalWriter:
    """Collects the events of a job, and writes them in a thread of its own; a context manager.

    Parameters
    ----------
    storage
        The shared storage.
    name
        The name of the file.
    each_time
        Called before each write: copies the checkpoint, so that an epoch is reported after it is stored.
    """

    def __init__(self, storage: Storage, name: str, each_time: Callable[[], None]) -> None:
        self._storage, self._name, self._each_time = storage, name, each_time
        self._lock = threading.Lock()
        self._events: list[tuple[int, Event]] = []
        self._number = 0
        self._written = -1
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write_repeatedly, name="transfer-journal")

    def __enter__(self) -> JournalWriter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def emit(self, event: Event) -> None:
        """Add an event."""
        with self._lock:
            if event["event"] in _LATEST:
                self._events = [each for each in self._events if each[1]["event"] != event["event"]]
            self._number += 1
            self._events.append((self._number, event))

    def write(self, outcome: dict[str, Any] | None = None) -> None:
        """Write now; with the `outcome` at the end."""
        self._each_time()
        with self._lock:
            number, events = self._number, list(self._events)
        if number > self._written or outcome:
            content = json.dumps({"events": events, "outcome": outcome})
            self._storage.write(self._name, content.encode())
            self._written = number

    def _write_repeatedly(self) -> None:
        while not self._ended.wait(_PAUSE_S):
            with suppress(TransferError):  # the next or the last write reports it
                self.write()


class JournalReader:
    """Reads the journal of a job; each event is returned once."""

    def __init__(self, storage: Storage, name: str) -> None:
        self._storage, self._name = storage, name
        self._seen = 0

    def read(self) -> tuple[list[Event], dict[str, Any] | None]:
        """The new events and the outcome; a file that is damaged has neither."""
        content = self._storage.read(self._name, _MOST_BYTES)
        with suppress(ValueError, TypeError, AttributeError):
            found = json.loads(content or b"{}")
            numbered = [
                (int(number), event)
                for number, event in found.get("events", ())
                if isinstance(event, dict) and event.get("event") in _EVENTS
            ]
            new = [event for number, event in numbered if number > self._seen]
            self._seen = max([self._seen, *(number for number, _ in numbered)])
            outcome = found.get("outcome")
            return new, outcome if isinstance(outcome, dict) else None
        return [], None


def outcome_of(error: BaseException) -> dict[str, Any]:
    """An exception as plain data."""
    details = error.details if isinstance(error, TransferError) else {}
    return {"type": type(error).__name__, "message": str(error), "details": details}


def error_of(outcome: dict[str, Any], run: str) -> TransferError:
    """The exception of an outcome, of the same class if it is one of transfer_core."""
    message, details = str(outcome.get("message")), outcome.get("details") or {}
    kind = getattr(errors, str(outcome.get("type")), None)
    if kind is RecipeError:
        return RecipeError(list(_problems(details, message)))
    if kind is DataError:
        return DataError(message, details.get("path"))
    if kind is Cancelled:
        return Cancelled(f"cancelled; the run {run} can be resumed", run)
    if isinstance(kind, type) and issubclass(kind, TransferError):
        error = kind.__new__(kind)
        TransferError.__init__(error, message)
        return error
    return TransferError(f"{outcome.get('type')}: {message}")


def _problems(details: Any, message: str) -> Iterator[Problem]:
    listed = details.get("problems") if isinstance(details, dict) else None
    if not listed:
        yield Problem("", message)
    for each in listed or ():
        yield Problem(str(each.get("path", "")), str(each.get("message", "")))

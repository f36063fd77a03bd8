"""State of one request for predictions or embeddings, shared by the serving threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias

from transfer_core.runtime.bad_input_report import mark
from transfer_core.runtime.errors import Cancelled, DataError

if TYPE_CHECKING:
    from transfer_core.model.model import Model
    from transfer_core.worker.model_cache import ModelRef

# From results of `Model.compute` to a result per row; from all results of a request to its response.
Predict: TypeAlias = Callable[["Model", Any], Sequence[Any]]
Finish: TypeAlias = Callable[["Model", Sequence[Any]], Any]


class PendingRequest:
    """A request and its progress. Its methods require the lock of `Serving`."""

    def __init__(
        self,
        ref: ModelRef,
        inputs: Sequence[Any],
        predict: Predict,
        finish: Finish,
        cancelled: Callable[[], bool],
        warn: Callable[[str], None],
        marks: bool = False,
    ) -> None:
        self.ref = ref
        self.predict = predict
        self.warn = warn
        self.count = len(inputs)
        self.since = monotonic()
        self.future: Future[Any] = Future()
        self.model: Model | None = None
        # Texts of similar length share a batch.
        self.pending = deque(sorted(enumerate(inputs), key=lambda each: -_length(each[1])))
        self._finish = finish
        self._cancelled = cancelled
        self._marks = marks
        self._begun: bool | None = None
        self._settled = False
        self._loading = 0
        self._results: dict[int, Any] = {}
        self._errors: dict[int, BaseException] = {}

    def begin(self) -> bool:
        """Mark the future as running; False if it was cancelled before.

        From here on, a cancellation takes effect at the next step.
        """
        if self._begun is None:
            self._begun = self.future.set_running_or_notify_cancel()
        return self._begun

    def is_live(self) -> bool:
        """Whether it has neither failed nor been cancelled."""
        if not self._errors and self._cancelled():
            self.fail(Cancelled("cancelled"))
        return not self._errors

    def take(self) -> tuple[int, Any]:
        """Remove and return the next input with its index."""
        self._loading += 1
        return self.pending.popleft()

    def note_loaded(self, number: int, error: BaseException | None) -> None:
        """Record that an input was loaded, or failed to load with `error`."""
        self._loading -= 1
        if self._marks and isinstance(error, DataError):
            self.add_result(number, mark(error))
        elif error:
            self.fail(error, number)

    def fail(self, error: BaseException, number: int = -1) -> None:
        """Fail the request and drop its inputs. Of several errors, that of the first input counts."""
        self._errors[number] = error
        self.pending.clear()

    def add_result(self, number: int, result: Any) -> None:
        """Record the result of an input."""
        self._results[number] = result

    def settle(self) -> Callable[[], None] | None:
        """Return the function that resolves the future, once, when all results or an error are there.

        Call it without the lock: done-callbacks of the future run in it.
        """
        if self._settled or (self._errors and self._loading):
            return None
        if not self._errors and len(self._results) < self.count:
            return None
        self._settled = True
        if not self.begin():
            return None
        if self._errors:
            return partial(self.future.set_exception, self._errors[min(self._errors)])
        return self._resolve

    def _resolve(self) -> None:
        assert self.model
        try:
            result = self._finish(self.model, [self._results[number] for number in range(self.count)])
        except BaseException as error:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


def _length(input: Any) -> int:
    return len(input) if isinstance(input, str) else 0

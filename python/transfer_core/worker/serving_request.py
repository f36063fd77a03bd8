"""One request for predictions or embeddings, whose inputs go through the hands of several threads."""

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

# From embeddings (N, W) to what is told of each; from what is told of its inputs to the answer of a request.
Tell: TypeAlias = Callable[["Model", Any], Sequence[Any]]
Finish: TypeAlias = Callable[["Model", Sequence[Any]], Any]


class Asked:
    """A request, and how far it is. Only who holds the lock of `Serving` may call its methods."""

    def __init__(
        self,
        ref: ModelRef,
        inputs: Sequence[Any],
        tell: Tell,
        finish: Finish,
        cancelled: Callable[[], bool],
        warn: Callable[[str], None],
        marks: bool = False,
    ) -> None:
        self.ref = ref
        self.tell = tell
        self.warn = warn
        self.count = len(inputs)
        self.since = monotonic()
        self.promise: Future[Any] = Future()
        self.model: Model | None = None
        self.untaken = deque(enumerate(inputs))
        self._finish = finish
        self._cancelled = cancelled
        self._marks = marks
        self._begun: bool | None = None
        self._settled = False
        self._loading = 0
        self._told: dict[int, Any] = {}
        self._errors: dict[int, BaseException] = {}

    def begin(self) -> bool:
        """From now on a cancel stops it at its next step only; False if it was cancelled before."""
        if self._begun is None:
            self._begun = self.promise.set_running_or_notify_cancel()
        return self._begun

    def is_wanted(self) -> bool:
        """Whether to go on with what was taken of it."""
        if not self._errors and self._cancelled():
            self.fail(Cancelled("cancelled"))
        return not self._errors

    def take(self) -> tuple[int, Any]:
        """The next input, and its number."""
        self._loading += 1
        return self.untaken.popleft()

    def note_loaded(self, number: int, error: BaseException | None) -> None:
        """An input that was taken is ready for the network, or can't be read."""
        self._loading -= 1
        if self._marks and isinstance(error, DataError):
            self.note_told(number, mark(error))
        elif error:
            self.fail(error, number)

    def fail(self, error: BaseException, number: int = -1) -> None:
        """Nothing more is taken of it. Of several errors that of the first input counts."""
        self._errors[number] = error
        self.untaken.clear()

    def note_told(self, number: int, told: Any) -> None:
        """What there is to tell of an input."""
        self._told[number] = told

    def settle(self) -> Callable[[], None] | None:
        """Once everything is known, what keeps the promise: to be called without the lock, and given once."""
        if self._settled or (self._errors and self._loading):
            return None
        if not self._errors and len(self._told) < self.count:
            return None
        self._settled = True
        if not self.begin():
            return None
        if self._errors:
            return partial(self.promise.set_exception, self._errors[min(self._errors)])
        return self._keep_promise

    def _keep_promise(self) -> None:
        assert self.model
        try:
            result = self._finish(self.model, [self._told[number] for number in range(self.count)])
        except BaseException as error:
            self.promise.set_exception(error)
        else:
            self.promise.set_result(result)

"""Predictions that are asked for at the same time are computed together.

There is a thread per core. Each does what is due: a forward pass where enough inputs of a model are loaded,
or where there is nothing left to load; else it loads the next input. So inputs are loaded on all cores while
others are in the network, one that takes long to load delays nobody else, and a lone request stays with one
thread.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from functools import cache, partial
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakKeyDictionary

from transfer_core.runtime.devices import at_most_cores, cores
from transfer_core.runtime.errors import Overloaded
from transfer_core.worker.calls import Call
from transfer_core.worker.model_cache import ModelCache, ModelRef, models
from transfer_core.worker.serving_line import Failed, Line, Loaded, tell_all
from transfer_core.worker.serving_request import Asked, Finish, Tell
from transfer_core.worker.serving_stats import ServingStats
from transfer_core.worker.settings import Gathering, gathering

if TYPE_CHECKING:
    from transfer_core.model.model import Model

Job: TypeAlias = Callable[[], None]


class Serving:
    """Answers requests with the models of `models`, on `threads` threads of its own."""

    def __init__(self, models: ModelCache, gathering: Gathering, threads: int) -> None:
        self._models = models
        self._gathering = gathering
        self._changed = threading.Condition()
        self._untaken: deque[Asked] = deque()  # an input of each in turn
        self._lines: WeakKeyDictionary[Model, Line] = WeakKeyDictionary()
        self._open = self._busy = 0
        self._stats = ServingStats()
        self._ended = False
        self._threads: list[threading.Thread] = []
        try:
            for number in range(threads):
                thread = threading.Thread(target=self._work, name=f"transfer-serve-{number}", daemon=True)
                thread.start()
                self._threads.append(thread)
        except BaseException:  # the system gives no more of them
            self.end()
            raise

    def ask(
        self,
        call: Call,
        ref: ModelRef,
        inputs: Sequence[Any],
        tell: Tell,
        finish: Finish,
        marks: bool = False,
    ) -> Future[Any]:
        """The promise of `finish(model, results)`, with a result of `tell` for each input.

        With `marks`, the result of an input that can't be read is its mark (`bad_inputs`); else it fails the
        request.

        Raises
        ------
        Overloaded
            If too many requests are open.
        """
        asked = Asked(ref, inputs, tell, finish, call.progress.cancelled, call.progress.warning, marks)
        with self._changed:
            if self._open >= self._gathering.queue_limit:
                self._stats.note_refusal()
                raise Overloaded(self._gathering.queue_limit)
            self._open += 1
            self._untaken.append(asked)
            self._changed.notify()
        asked.promise.add_done_callback(partial(self._note_answer, asked.since))
        return asked.promise

    def stats(self) -> dict[str, Any]:
        """As `docs/reference/protocol.md` says under `serving`."""
        with self._changed:
            return {"open": self._open, **self._stats.plain(), "models": self._models.stats()}

    def end(self) -> None:
        """End all threads once nothing is due."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while job := self._next():
            job()
            del job  # it holds a model and inputs; this thread may now wait for long
            with self._changed:
                self._busy -= 1

    def _next(self) -> Job | None:
        """What to do now, as soon as there is something; None at the end."""
        with self._changed:
            while (job := self._due()) is None:
                if self._ended:
                    return None
                self._changed.wait(self._pause())
            self._busy += 1
            return job

    def _due(self) -> Job | None:
        waiting = [(model, line) for model, line in self._lines.items() if line.can_start()]
        for model, line in waiting:
            if line.is_full():
                return self._pass(model, line)
        if job := self._due_for_request():
            return job
        for model, line in sorted(waiting, key=lambda each: each[1].since):
            if line.since + self._gathering.wait_s <= monotonic():
                return self._pass(model, line)
        return None

    def _due_for_request(self) -> Job | None:
        while asked := self._next_asked():
            if asked.promise.cancelled():
                continue
            if not asked.model:
                return partial(self._find_model, asked)
            if asked.begin() and asked.is_wanted():
                number, input = asked.take()
                if asked.untaken:
                    self._untaken.append(asked)
                return partial(self._load, asked, number, input)
            return partial(self._settle, [asked])
        return None

    def _next_asked(self) -> Asked | None:
        """The next request whose model has use for another input."""
        for place, asked in enumerate(self._untaken):
            if not (asked.model and self._lines[asked.model].is_far_ahead()):
                del self._untaken[place]
                return asked
        return None

    def _pass(self, model: Model, line: Line) -> Job:
        """The next forward pass, on as many cores as nobody else needs."""
        hands = min(len(self._threads), 1 + self._busy + len(self._untaken))
        loaded = line.take()
        self._changed.notify(len(self._untaken))  # who loads for this line may have waited
        return partial(self._compute, model, line, loaded, len(self._threads) // hands)

    def _pause(self) -> float | None:
        """Seconds until something is due by itself."""
        if not self._gathering.wait_s:
            return None
        waiting = [line.since for line in self._lines.values() if line.can_start()]
        return max(0, min(waiting) + self._gathering.wait_s - monotonic()) if waiting else None

    def _find_model(self, asked: Asked) -> None:
        try:
            found = self._models.find(asked.ref, asked.warn, start=_in_a_thread)
        except BaseException as error:
            self._fail(asked, error)
            return
        if isinstance(found, Future):
            found.add_done_callback(partial(self._model_was_read, asked))
        else:
            self._begin(asked, found)

    def _model_was_read(self, asked: Asked, read: Future[Model]) -> None:
        if error := read.exception():
            self._fail(asked, error)
            return
        self._begin(asked, read.result())
        with self._changed:
            self._changed.notify()

    def _begin(self, asked: Asked, model: Model) -> None:
        with self._changed:
            if model not in self._lines:
                at_once = len(self._threads) if model.device.type == "cpu" else 1
                self._lines[model] = Line(self._gathering.batch_size or model.batch_size, at_once)
            asked.model = model
            if asked.count:
                self._untaken.appendleft(asked)
                self._changed.notify(asked.count - 1)  # this thread takes the first
        self._settle([asked])

    def _load(self, asked: Asked, number: int, input: Any) -> None:
        assert asked.model
        error = content = None
        try:
            content = asked.model.load(number, input, asked.count)
        except BaseException as raised:
            error = raised
        with self._changed:
            asked.note_loaded(number, error)
            if not error and asked.is_wanted():
                self._lines[asked.model].loaded.append(Loaded(asked, number, content, monotonic()))
        self._settle([asked])

    def _compute(self, model: Model, line: Line, loaded: list[Loaded], most_cores: int) -> None:
        with self._changed:
            wanted = [each for each in loaded if each.asked.is_wanted()]
        with at_most_cores(most_cores):
            told = tell_all(model, wanted) if wanted else []
        with self._changed:
            line.running -= 1
            self._stats.note_batch(len(wanted))
            for each, what in zip(wanted, told, strict=True):
                if isinstance(what, Failed):
                    each.asked.fail(what.error, each.number)
                else:
                    each.asked.note_told(each.number, what)
        self._settle(each.asked for each in loaded)

    def _fail(self, asked: Asked, error: BaseException) -> None:
        with self._changed:
            asked.fail(error)
        self._settle([asked])

    def _settle(self, requests: Iterable[Asked]) -> None:
        with self._changed:
            settled = [keep for asked in requests if (keep := asked.settle())]
        for keep_promise in settled:
            keep_promise()

    def _note_answer(self, since: float, promise: Future[Any]) -> None:
        with self._changed:
            self._open -= 1
            if not promise.cancelled() and not promise.exception():
                self._stats.note_answer(monotonic() - since)


@cache
def _serving() -> Serving:
    return Serving(models(), gathering(), cores())


_making = threading.Lock()


def serving() -> Serving:
    """That of this process."""
    with _making:
        return _serving()


def _in_a_thread(job: Job) -> None:
    threading.Thread(target=job, name="transfer-read-model", daemon=True).start()

"""Micro-batching: concurrent requests for predictions share forward passes.

A pool has one thread per core. Each thread takes the next job: a forward pass if a batch is full or no input
is left to load, otherwise loading one input. Inputs are thus decoded on all cores while others are in the
network, a slow input delays no other request, and a single request stays on one thread.

A network that computes in steps, a generator of texts, has running batches instead (continuous batching):
between two steps, new inputs join and finished ones leave, unless another model waits for the thread.
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
from transfer_core.worker.batch_queue import BatchQueue, Failure, LoadedInput, RunningBatch, predict_batch
from transfer_core.worker.calls import Call
from transfer_core.worker.model_cache import ModelCache, ModelRef, models
from transfer_core.worker.serving_request import Finish, PendingRequest, Predict
from transfer_core.worker.serving_stats import ServingStats
from transfer_core.worker.settings import BatchingSettings, batching_settings

if TYPE_CHECKING:
    from transfer_core.model.model import Model

Job: TypeAlias = Callable[[], None]


class Serving:
    """Micro-batching scheduler: serves requests with the models of `models` on `threads` threads."""

    def __init__(self, models: ModelCache, settings: BatchingSettings, threads: int) -> None:
        self._models = models
        self._settings = settings
        self._changed = threading.Condition()
        self._pending: deque[PendingRequest] = deque()  # round-robin, one input per request
        self._queues: WeakKeyDictionary[Model, BatchQueue] = WeakKeyDictionary()
        self._open = self._busy = 0
        self._stats = ServingStats()
        self._ended = False
        self._threads: list[threading.Thread] = []
        try:
            for number in range(threads):
                thread = threading.Thread(target=self._work, name=f"transfer-serve-{number}", daemon=True)
                thread.start()
                self._threads.append(thread)
        except BaseException:  # the system refuses another thread
            self.end()
            raise

    def submit(
        self,
        call: Call,
        ref: ModelRef,
        inputs: Sequence[Any],
        predict: Predict,
        finish: Finish,
        marks: bool = False,
    ) -> Future[Any]:
        """Queue a request and return the future of its result.

        Parameters
        ----------
        call
            The open call: its cancellation and its warnings.
        ref
            Reference of the saved model.
        inputs
            Inputs of the model's modality.
        predict
            Converts results of `Model.compute` to one result per row.
        finish
            Converts the results of all inputs to the result of the request.
        marks
            Whether an unreadable input gets its error mark as result (`bad_input_report.mark`); otherwise it
            fails the request.

        Returns
        -------
        Future
            Resolves to `finish(model, results)`.

        Raises
        ------
        Overloaded
            If too many requests are open.
        """
        request = PendingRequest(
            ref, inputs, predict, finish, call.progress.cancelled, call.progress.warning, marks
        )
        with self._changed:
            if self._open >= self._settings.queue_limit:
                self._stats.record_refusal()
                raise Overloaded(self._settings.queue_limit)
            self._open += 1
            self._pending.append(request)
            self._changed.notify()
        request.future.add_done_callback(partial(self._record_latency, request.since))
        return request.future

    def stats(self) -> dict[str, Any]:
        """Statistics of serving as plain data (`docs/reference/protocol.md`, `serving`)."""
        with self._changed:
            return {"open": self._open, **self._stats.plain(), "models": self._models.stats()}

    def end(self) -> None:
        """End all threads once no job is due."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while job := self._next():
            job()
            del job  # frees its model and inputs: this thread may now wait for a long time
            with self._changed:
                self._busy -= 1

    def _next(self) -> Job | None:
        """Wait for the next job; None after `end`."""
        with self._changed:
            while (job := self._due()) is None:
                if self._ended:
                    return None
                self._changed.wait(self._pause())
            self._busy += 1
            return job

    def _due(self) -> Job | None:
        waiting = [(model, queue) for model, queue in self._queues.items() if queue.can_start()]
        for model, queue in waiting:
            if queue.is_full():
                return self._pass(model, queue)
        if job := self._due_for_request():
            return job
        for model, queue in sorted(waiting, key=lambda each: each[1].since):
            if queue.since + self._settings.wait_s <= monotonic():
                return self._pass(model, queue)
        return None

    def _due_for_request(self) -> Job | None:
        while request := self._next_request():
            if request.future.cancelled():
                continue
            if not request.model:
                return partial(self._find_model, request)
            if request.begin() and request.is_live():
                number, input = request.take()
                if request.pending:
                    self._pending.append(request)
                return partial(self._load, request, number, input)
            return partial(self._settle, [request])
        return None

    def _next_request(self) -> PendingRequest | None:
        """Remove and return the next request whose batch queue is not saturated."""
        for place, request in enumerate(self._pending):
            if not (request.model and self._queues[request.model].is_saturated()):
                del self._pending[place]
                return request
        return None

    def _pass(self, model: Model, queue: BatchQueue) -> Job:
        """Job of the next forward pass, on an equal share of the cores."""
        active = min(len(self._threads), 1 + self._busy + len(self._pending))
        queue.running += 1
        loaded = queue.take(queue.size)
        self._changed.notify(len(self._pending))  # loads for this queue may have been held back
        if (running := model.predictor.running()) is not None:
            return partial(self._run, queue, loaded, RunningBatch(model, running))
        return partial(self._compute, model, queue, loaded, len(self._threads) // active)

    def _joining(self, queue: BatchQueue, room: int) -> list[LoadedInput]:
        """Load and take up to `room` inputs for a running batch; none while other models wait."""
        while True:
            with self._changed:
                if any(other is not queue and other.can_start() for other in self._queues.values()):
                    return []
                job = self._due_for_request() if len(queue.loaded) < room else None
                if not job:
                    return queue.take(room)
            job()

    def _pause(self) -> float | None:
        """Seconds until the oldest loaded input reaches its maximum wait; None without one."""
        if not self._settings.wait_s:
            return None
        waiting = [queue.since for queue in self._queues.values() if queue.can_start()]
        return max(0, min(waiting) + self._settings.wait_s - monotonic()) if waiting else None

    def _find_model(self, request: PendingRequest) -> None:
        try:
            found = self._models.find(request.ref, request.warn, start=_in_a_thread)
        except BaseException as error:
            self._fail(request, error)
            return
        if isinstance(found, Future):
            found.add_done_callback(partial(self._on_model_read, request))
        else:
            self._begin(request, found)

    def _on_model_read(self, request: PendingRequest, read: Future[Model]) -> None:
        if error := read.exception():
            self._fail(request, error)
            return
        self._begin(request, read.result())
        with self._changed:
            self._changed.notify()

    def _begin(self, request: PendingRequest, model: Model) -> None:
        with self._changed:
            if model not in self._queues:
                at_once = len(self._threads) if model.predictor.concurrent else 1
                self._queues[model] = BatchQueue(
                    self._settings.batch_size or model.predictor.batch_size, at_once
                )
            request.model = model
            if request.count:
                self._pending.appendleft(request)
                self._changed.notify(request.count - 1)  # this thread takes the first
        self._settle([request])

    def _load(self, request: PendingRequest, number: int, input: Any) -> None:
        assert request.model
        error = content = None
        try:
            content = request.model.load(number, input, request.count)
        except BaseException as raised:
            error = raised
        with self._changed:
            request.note_loaded(number, error)
            if not error and request.is_live():
                self._queues[request.model].loaded.append(LoadedInput(request, number, content, monotonic()))
        self._settle([request])

    def _compute(self, model: Model, queue: BatchQueue, loaded: list[LoadedInput], most_cores: int) -> None:
        with self._changed:
            wanted = [each for each in loaded if each.request.is_live()]
        with at_most_cores(most_cores):
            outcomes = predict_batch(model, wanted) if wanted else []
        with self._changed:
            queue.running -= 1
            self._stats.record_batch(len(wanted))
        self._record(wanted, outcomes)
        self._settle(each.request for each in loaded)

    def _run(self, queue: BatchQueue, loaded: list[LoadedInput], running: RunningBatch) -> None:
        """Compute step by step; inputs join until none is left."""
        while True:
            with self._changed:
                ended = [each for each in (*loaded, *running.inputs) if not each.request.is_live()]
                most_cores = len(self._threads) // max(1, self._busy)
            running.drop(ended)
            with at_most_cores(most_cores):
                self._record(*running.step([each for each in loaded if each not in ended]))
            self._settle(each.request for each in ended)
            loaded = self._joining(queue, queue.size - len(running.inputs))
            if not (loaded or running.inputs):
                break
        with self._changed:
            queue.running -= 1
            self._stats.record_batch(running.largest)

    def _record(self, loaded: Sequence[LoadedInput], outcomes: Sequence[Any]) -> None:
        with self._changed:
            for each, outcome in zip(loaded, outcomes, strict=True):
                if isinstance(outcome, Failure):
                    each.request.fail(outcome.error, each.number)
                else:
                    each.request.add_result(each.number, outcome)
        self._settle(each.request for each in loaded)

    def _fail(self, request: PendingRequest, error: BaseException) -> None:
        with self._changed:
            request.fail(error)
        self._settle([request])

    def _settle(self, requests: Iterable[PendingRequest]) -> None:
        with self._changed:
            settled = [resolve for request in requests if (resolve := request.settle())]
        for resolve in settled:
            resolve()

    def _record_latency(self, since: float, future: Future[Any]) -> None:
        with self._changed:
            self._open -= 1
            if not future.cancelled() and not future.exception():
                self._stats.record_latency(monotonic() - since)


@cache
def _serving() -> Serving:
    return Serving(models(), batching_settings(), cores())


_creation_lock = threading.Lock()


def serving() -> Serving:
    """The scheduler of this process, created on first use."""
    with _creation_lock:
        return _serving()


def _in_a_thread(job: Job) -> None:
    threading.Thread(target=job, name="transfer-read-model", daemon=True).start()

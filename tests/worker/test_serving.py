"""Who is computed with whom, who waits for whom, and who is left out; with models that are toys."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from typing import Any

import pytest

from transfer_core.runtime.errors import Cancelled, ConfigurationError, DataError, Overloaded
from transfer_core.worker import model_methods
from transfer_core.worker.model_cache import ModelCache, ModelRef
from transfer_core.worker.serving import Serving
from transfer_core.worker.serving_request import PendingRequest
from transfer_core.worker.settings import BatchingSettings, batching_settings, model_memory
from worker.client import wait_until
from worker.toys import PATIENCE_S, Caller, StepToy, Toy


class Desk:
    """Asks a `Serving` about toys: the path of a model is a name of `toys`."""

    def __init__(self, threads: int, settings: BatchingSettings, folder: Any, **toys: Toy) -> None:
        self.toys = {name: folder / name for name in toys}
        for path in self.toys.values():
            path.touch()
        self._by_path = {self._ref(name): toy for name, toy in toys.items()}
        self._cache = ModelCache(10, read=self._by_path.__getitem__, size=lambda toy: 1)
        self.serving = Serving(self._cache, settings, threads)

    def predict(self, *inputs: Any, toy: str = "toy", caller: Caller | None = None) -> Future[Any]:
        who = caller or Caller()
        return self.serving.submit(
            who, self._ref(toy), inputs, model_methods._predictions, model_methods._listed
        )  # type: ignore[arg-type]

    def _ref(self, toy: str) -> ModelRef:
        return ModelRef(str(self.toys[toy]))

    def forget(self) -> None:
        """All models."""
        self._by_path.clear()
        self._cache._models.clear()

    def embed(self, *inputs: Any) -> Future[Any]:
        return self.serving.submit(
            Caller(), self._ref("toy"), inputs, model_methods._embeddings, model_methods._stacked
        )  # type: ignore[arg-type]


@pytest.fixture
def desk(tmp_path: Any) -> Iterator[Callable[..., Desk]]:
    """Make a desk; its threads end after the test."""
    made: list[Desk] = []

    def make(threads: int = 1, settings: BatchingSettings | None = None, **toys: Toy) -> Desk:
        made.append(Desk(threads, settings or BatchingSettings(), tmp_path, **(toys or {"toy": Toy()})))
        return made[-1]

    yield make
    for each in made:
        each.serving.end()


def values(promise: Future[Any]) -> list[float]:
    return [prediction["value"] for prediction in promise.result(PATIENCE_S)]


def closed() -> threading.Event:
    return threading.Event()


def test_what_comes_during_a_pass_is_computed_together(desk: Callable[..., Desk]) -> None:
    toy = Toy(gates={"pass": closed()})
    at = desk(toy=toy)
    first = at.predict(1)
    wait_until(lambda: toy.passes, "the first pass")
    others = [at.predict(2), at.embed(3), at.predict(4)]
    toy.gates["pass"].set()
    assert values(first) == [1]
    assert values(others[0]) + values(others[2]) == [2, 4]
    assert others[1].result(PATIENCE_S).tolist() == [[3]]
    assert toy.passes == [[1], [2, 3, 4]]


def test_no_more_than_a_batch_goes_together_and_rows_keep_their_order(desk: Callable[..., Desk]) -> None:
    toy = Toy()
    assert values(desk(toy=toy).predict(*range(10))) == list(range(10))
    assert [len(each) for each in toy.passes] == [4, 4, 2]
    toy = Toy()
    at = desk(4, BatchingSettings(batch_size=3), toy=toy)
    assert at.embed(*range(50)).result(PATIENCE_S).tolist() == [[n] for n in range(50)]
    assert max(len(each) for each in toy.passes) <= 3


def test_a_decoded_input_waits_for_others_as_long_as_is_said(desk: Callable[..., Desk]) -> None:
    toy = Toy()
    at = desk(2, BatchingSettings(wait_s=0.2), toy=toy)
    both = at.predict(1), at.predict(2)
    assert [values(each) for each in both] == [[1], [2]]
    assert [sorted(each) for each in toy.passes] == [[1, 2]]
    full = at.predict(*range(4))
    wait_until(full.done, "a full batch, which waits for nobody")
    assert at.serving.stats()["seconds"]["max"] > 0.2


def test_nothing_to_answer(desk: Callable[..., Desk]) -> None:
    at = desk()
    assert at.predict().result(PATIENCE_S) == []
    assert at.embed().result(PATIENCE_S).shape == (0, 1)


def test_inputs_are_loaded_while_others_are_computed(desk: Callable[..., Desk]) -> None:
    toy = Toy(gates={"pass": closed()})
    at = desk(2, toy=toy)
    first = at.predict(1)
    wait_until(lambda: toy.passes, "the first pass")
    second = at.predict(2)
    wait_until(lambda: 2 in toy.loaded, "the other to be loaded")
    toy.gates["pass"].set()
    assert values(first) + values(second) == [1, 2]


def test_one_that_is_slow_to_load_holds_up_nobody_else(desk: Callable[..., Desk]) -> None:
    toy = Toy(gates={"slow": closed(), 7: closed()})
    at = desk(2, toy=toy)
    slow = at.predict(1, 7, 3)
    assert values(at.predict(2, 4, 6)) == [2, 4, 6]
    assert not slow.done()
    toy.gates[7].set()
    assert values(slow) == [1, 7, 3]


def test_one_that_can_not_be_loaded_fails_its_own_request_alone(desk: Callable[..., Desk]) -> None:
    toy = Toy(gates={"pass": closed()})
    at = desk(toy=toy)
    first = at.predict(0)
    wait_until(lambda: toy.passes, "the first pass")
    before, broken, after = at.predict(1), at.predict(2, "bad", 3, "bad"), at.predict(4)
    toy.gates["pass"].set()
    assert [values(each) for each in (first, before, after)] == [[0], [1], [4]]
    with pytest.raises(DataError, match=r"^image 2 of 4: bad$"):
        broken.result(PATIENCE_S)
    assert 3 not in toy.loaded  # nothing is loaded in vain
    assert toy.passes == [[0], [1, 4]]


def test_of_two_that_can_not_be_loaded_the_first_is_named(desk: Callable[..., Desk]) -> None:
    toy = Toy(gates={1: closed()})
    at = desk(2, toy=toy)
    toy.load = late(toy.load, "bad", toy.gates[1])  # type: ignore[method-assign]
    with pytest.raises(DataError, match=r"^image 1 of 2: bad$"):
        at.predict("bad", "bad").result(PATIENCE_S)


def late(load: Callable[..., Any], slow: Any, gate: threading.Event) -> Callable[..., Any]:
    """`load`, whose first input is loaded after the second."""

    def run(number: int, input: Any, of: int) -> Any:
        if number == 0:
            assert gate.wait(PATIENCE_S)
        try:
            return load(number, input, of)
        finally:
            gate.set()

    return run


def test_one_that_can_not_be_computed_fails_its_own_request_alone(desk: Callable[..., Desk]) -> None:
    toy = Toy(gates={"pass": closed()})
    at = desk(toy=toy)
    at.predict(0)
    wait_until(lambda: toy.passes, "the first pass")
    before, poisoned, after = at.predict(1), at.predict("poison"), at.predict(2)
    toy.gates["pass"].set()
    assert [values(before), values(after)] == [[1], [2]]
    with pytest.raises(ValueError, match="poison"):
        poisoned.result(PATIENCE_S)


def test_what_can_not_be_computed_costs_a_pass_for_each_request_alone(desk: Callable[..., Desk]) -> None:
    toy = Toy(batch_size=8, gates={"pass": closed()})
    at = desk(toy=toy)
    at.predict(0)
    wait_until(lambda: toy.passes, "the first pass")
    even, odd = at.predict(2, 4, 6, "poison"), at.predict(1, 3, 5, 7)  # taken in turn
    toy.gates["pass"].set()
    assert values(odd) == [1, 3, 5, 7]
    with pytest.raises(ValueError, match="poison"):
        even.result(PATIENCE_S)
    assert [len(each) for each in toy.passes] == [1, 8, 4, 4]


def test_a_thread_that_waits_holds_no_model(desk: Callable[..., Desk]) -> None:
    toy = Toy()
    at, seen = desk(2, toy=toy), weakref.ref(toy)
    assert values(at.predict(1)) == [1]
    at.forget()
    del toy
    wait_until(lambda: seen() is None, "the end of the model")


def test_a_model_whose_passes_are_behind_holds_up_no_other(desk: Callable[..., Desk]) -> None:
    toys = {"toy": Toy(concurrent=False, gates={"pass": closed()}), "other": Toy(concurrent=False)}
    at = desk(4, **toys)
    many = at.predict(*range(100))
    wait_until(lambda: len(toys["toy"].loaded) >= 12, "loading")
    assert values(at.predict(7, toy="other")) == [7]
    toys["toy"].gates["pass"].set()
    assert values(many) == list(range(100))


def test_where_the_system_gives_too_few_threads_none_is_left(monkeypatch: Any) -> None:
    started, start = [], threading.Thread.start

    def grudging(thread: threading.Thread) -> None:
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", grudging)
    with pytest.raises(RuntimeError, match="can't start"):
        Serving(ModelCache(10), BatchingSettings(), 4)
    assert not any(thread.is_alive() for thread in started)


def test_a_cancelled_request_that_waits_is_never_computed(desk: Callable[..., Desk]) -> None:
    toy = Toy(gates={"pass": closed()})
    at, caller = desk(toy=toy), Caller()
    first = at.predict(1)
    wait_until(lambda: toy.passes, "the first pass")
    waiting = at.predict(2, 3, caller=caller)
    last = at.predict(4)
    caller.cancel(waiting)
    with pytest.raises(CancelledError):
        waiting.result(0)
    assert at.serving.stats()["open"] == 2
    toy.gates["pass"].set()
    assert values(first) + values(last) == [1, 4]
    assert toy.loaded == [1, 4]


def test_no_model_is_read_for_a_cancelled_request(desk: Callable[..., Desk]) -> None:
    toys = {"toy": Toy(gates={"pass": closed()}), "other": Toy()}
    at, caller = desk(**toys), Caller()
    first = at.predict(1)
    wait_until(lambda: toys["toy"].passes, "the first pass")
    caller.cancel(at.predict(2, toy="other", caller=caller))
    toys["toy"].gates["pass"].set()
    assert values(first) + values(at.predict(3)) == [1, 3]
    assert at.serving.stats()["models"]["count"] == 1


def test_a_model_that_can_not_be_read_for_a_request_that_was_cancelled() -> None:
    """The cancel comes first, then the failure, in whatever order the threads look at them."""
    caller = Caller()
    asked = PendingRequest(
        ModelRef("m"),
        [1],
        model_methods._predictions,
        model_methods._listed,
        caller.progress.cancelled,
        print,
    )
    caller.cancel(asked.future)
    assert not asked.begin()
    asked.fail(DataError("no model"))
    assert asked.settle() is None
    assert not asked.begin()
    assert asked.future.cancelled()


def test_a_request_that_is_cancelled_half_way_stops_there(desk: Callable[..., Desk]) -> None:
    toy = Toy(gates={5: closed()})
    at, caller = desk(toy=toy), Caller()
    half = at.predict(*range(12), caller=caller)
    wait_until(lambda: len(toy.passes) == 1, "a pass")
    caller.cancel(half)
    toy.gates[5].set()
    with pytest.raises(Cancelled):
        half.result(PATIENCE_S)
    assert toy.loaded == [0, 1, 2, 3, 4, 5]
    assert toy.passes == [[0, 1, 2, 3]]


def test_more_than_may_wait_are_refused_and_then_no_more(desk: Callable[..., Desk]) -> None:
    toy = Toy(gates={"pass": closed()})
    at = desk(settings=BatchingSettings(queue_limit=2), toy=toy)
    both = [at.predict(1), at.predict(2)]
    with pytest.raises(Overloaded) as error:
        at.predict(3)
    assert str(error.value) == (
        "2 requests for predictions are being answered already (serving_queue_limit): ask again in a moment, "
        "ask with more inputs at once, raise the limit, or add a process"
    )
    assert error.value.details == {"limit": 2}
    toy.gates["pass"].set()
    assert [values(each) for each in both] == [[1], [2]]
    assert values(at.predict(4)) == [4]
    assert at.serving.stats()["refused"] == 1


def test_a_single_image_does_not_wait_for_a_thousand(desk: Callable[..., Desk]) -> None:
    toy = Toy(gates={"pass": closed()})
    at = desk(toy=toy)
    many = at.predict(*range(1000))
    wait_until(lambda: toy.passes, "the first pass")
    one = at.predict(-1)
    toy.gates["pass"].set()
    assert values(one) == [-1]
    assert values(many) == list(range(1000))
    assert -1 in toy.passes[1]


def test_each_model_has_its_own_passes(desk: Callable[..., Desk]) -> None:
    toys = {"toy": Toy(), "other": Toy()}
    at = desk(2, **toys)
    asked = [at.predict(n, toy=("toy", "other")[n % 2]) for n in range(40)]
    assert [values(each) for each in asked] == [[n] for n in range(40)]
    for start, toy in enumerate(toys.values()):
        assert sorted(input for each in toy.passes for input in each) == list(range(start, 40, 2))


def test_a_gpu_makes_one_pass_at_a_time_and_little_is_loaded_ahead(desk: Callable[..., Desk]) -> None:
    toy = Toy(concurrent=False, gates={"pass": closed()})
    at = desk(4, toy=toy)
    many = at.predict(*range(100))
    wait_until(lambda: len(toy.loaded) >= 12, "loading")
    assert len(toy.loaded) <= 4 + 2 * 4 + 3  # a pass, two that wait, and what the other threads had in hand
    toy.gates["pass"].set()
    assert values(many) == list(range(100))
    assert toy.most_at_once == 1


def test_cores_that_nobody_else_needs_are_lent(desk: Callable[..., Desk], monkeypatch: Any) -> None:
    from transfer_core.runtime.devices import cores

    monkeypatch.setenv("TRANSFER_THREADS", "8")
    lent = []
    toy = Toy(gates={"pass": closed()})
    embed = toy.compute_all
    toy.compute_all = lambda loads: [lent.append(cores()), embed(loads)][1]  # type: ignore[method-assign]
    at = desk(8, toy=toy)
    first = at.predict(1)
    wait_until(lambda: len(lent) == 1, "the first pass")
    second = at.predict(2)
    wait_until(lambda: len(lent) == 2, "the second pass")
    toy.gates["pass"].set()
    assert values(first) + values(second) == [1, 2]
    assert lent == [8, 4]


def test_what_can_be_seen(desk: Callable[..., Desk]) -> None:
    toy = Toy(gates={"pass": closed()})
    at = desk(toy=toy)
    nothing = {"count": 0, "mean": None, "last": None, "sizes": {}}
    assert at.serving.stats() == {
        "open": 0,
        "batches": nothing,
        "seconds": None,
        "refused": 0,
        "models": {"count": 0, "bytes": 0, "limit": 10},
    }
    first = at.predict(1)
    wait_until(lambda: toy.passes, "the first pass")
    rest = [at.predict(2), at.predict(3), at.predict(4)]
    assert at.serving.stats()["open"] == 4
    toy.gates["pass"].set()
    for each in (first, *rest):
        values(each)
    seen = at.serving.stats()
    assert seen["open"] == 0
    assert seen["batches"] == {"count": 2, "mean": 2, "last": 3, "sizes": {"1": 1, "3": 1}}
    assert 0 < seen["seconds"]["p50"] <= seen["seconds"]["p99"] <= seen["seconds"]["max"]
    assert seen["models"]["count"] == 1


def test_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    assert batching_settings() == BatchingSettings(None, 0.0, 1000)
    assert 0 < model_memory() <= 2 * 10**9
    for name, value in (
        ("SERVING_BATCH_SIZE", "16"),
        ("SERVING_WAIT_MS", "2.5"),
        ("SERVING_QUEUE_LIMIT", "50"),
        ("MODEL_MEMORY", "1000"),
    ):
        monkeypatch.setenv(f"TRANSFER_{name}", value)
    assert batching_settings() == BatchingSettings(16, 0.0025, 50)
    assert model_memory() == 1000


@pytest.mark.parametrize("value", ["0", "many", "nan", "-1"])
def test_settings_that_are_none(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("TRANSFER_SERVING_BATCH_SIZE", value)
    with pytest.raises(ConfigurationError) as error:
        batching_settings()
    assert str(error.value) == f"TRANSFER_SERVING_BATCH_SIZE is a number of 1 or more, got {value!r}"


# Continuous batching.


def test_inputs_join_a_running_batch_and_leave_it(desk: Any) -> None:
    gate = threading.Event()
    toy = StepToy(batch_size=2, gates={"step": gate})
    asked = desk(toy=toy)
    long = asked.predict(4)
    wait_until(lambda: toy.loaded == [4], "the input to be loaded")
    short, queued = asked.predict(1), asked.predict(2)
    gate.set()
    assert short.result(PATIENCE_S) == [{"value": 1.0}]
    assert [long.result(PATIENCE_S), queued.result(PATIENCE_S)] == [[{"value": 4.0}], [{"value": 2.0}]]
    assert toy.passes == [[4], [4, 1], [4, 2], [4, 2]]


def test_a_running_batch_ends_for_another_model(desk: Any) -> None:
    gate = threading.Event()
    steps, other = StepToy(gates={"step": gate}), Toy()
    asked = desk(steps=steps, other=other)
    first = asked.predict(3, toy="steps")
    wait_until(lambda: steps.loaded == [3], "the input to be loaded")
    waits, late = asked.predict(7, toy="other"), asked.predict(1, toy="steps")
    late.add_done_callback(lambda _: other.passes.append(["late"]))
    gate.set()
    results = [each.result(PATIENCE_S) for each in (first, waits, late)]
    assert results == [[{"value": 3.0}], [{"value": 7.0}], [{"value": 1.0}]]
    assert other.passes == [[7], ["late"]]


def test_a_failed_step_fails_only_the_request_that_caused_it(desk: Any) -> None:
    gate = threading.Event()
    toy = StepToy(gates={"step": gate})
    asked = desk(toy=toy)
    good = asked.predict(5)
    wait_until(lambda: toy.loaded == [5], "the input to be loaded")
    bad = asked.predict("poison")
    gate.set()
    assert good.result(PATIENCE_S) == [{"value": 5.0}]
    with pytest.raises(ValueError, match="poison"):
        bad.result(PATIENCE_S)
    assert asked.predict(2).result(PATIENCE_S) == [{"value": 2.0}]


def test_a_cancelled_input_leaves_a_running_batch(desk: Any) -> None:
    gate = threading.Event()
    toy = StepToy(gates={"step": gate})
    asked, caller = desk(toy=toy), Caller()
    cancelled = asked.predict(10**9, caller=caller)
    wait_until(lambda: toy.loaded == [10**9], "the input to be loaded")
    other = asked.predict(2)
    caller.is_cancelled = True
    gate.set()
    with pytest.raises(Cancelled):
        cancelled.result(PATIENCE_S)
    assert other.result(PATIENCE_S) == [{"value": 2.0}]

"""Many calls at once, cancelling them, their events, and rows that come from Ruby."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from worker.client import Client, wait_until

CANCELLED = {
    "type": "Cancelled",
    "message": "cancelled",
    "details": {},
    "python_class": "transfer_core.runtime.errors.Cancelled",
}


def test_values_come_back_as_they_went(worker: Client) -> None:
    for value in (
        None,
        False,
        0,
        -(2**63),
        2**64 - 1,
        0.1,
        "Füße 🛑",
        b"\x00\xff",
        [1, [2]],
        {"a": {"b": [b""]}},
    ):
        answer = worker.call("echo", value={"it": value})["it"]
        assert answer == value
        assert type(answer) is type(value)


def test_a_frame_of_megabytes_comes_back(worker: Client) -> None:
    data = bytes(range(256)) * (20 * 4096)
    assert worker.call("echo", value=data) == data


def test_200_requests_in_flight_are_each_answered_once(worker: Client) -> None:
    busy = worker.request("wait_for_cancel")
    assert worker.read()[1] == "event"
    asked = {worker.request("ping"): "pong" for _ in range(200)}
    asked |= {worker.request("echo", value=n): n for n in range(200)}
    answers = [worker.read() for _ in asked]
    assert {id: result for _, id, _, result in answers} == asked
    worker.cancel(busy)
    assert worker.response(busy) == CANCELLED


def test_computations_run_one_after_the_other(worker: Client) -> None:
    ids = [worker.request("tell", events=[{"event": "warning", "message": str(n)}]) for n in range(5)]
    told = [worker.read() for _ in range(10)]
    expected: list[Any] = []
    for n, id in enumerate(ids):
        expected += [event(id, event="warning", message=str(n)), [1, id, None, "told"]]
    assert told == expected


def test_a_running_call_is_cancelled(worker: Client) -> None:
    id = worker.request("wait_for_cancel")
    assert worker.read() == event(id, event="stage", step="train", title="waiting")
    worker.cancel(id)
    assert worker.read() == [1, id, CANCELLED, None]
    assert worker.call("ping") == "pong"


def test_a_queued_call_is_cancelled_without_waiting_for_its_turn(worker: Client, tmp_path: Path) -> None:
    release = tmp_path / "release"
    first = worker.request("ignore_cancel", release=str(release))
    assert worker.read()[1] == "event"
    queued = worker.request("wait_for_cancel")
    last = worker.request("tell", events=[])
    worker.cancel(queued)
    assert worker.read() == [1, queued, CANCELLED, None]
    release.touch()
    assert worker.read() == [1, first, None, "done"]
    assert worker.read() == [1, last, None, "told"]


def test_a_call_that_ends_all_the_same_is_answered_with_its_result(worker: Client, tmp_path: Path) -> None:
    release = tmp_path / "release"
    id = worker.request("ignore_cancel", release=str(release))
    assert worker.read() == event(id, event="stage", step="train", title="waiting")
    worker.cancel(id)
    assert worker.call("ping") == "pong"  # so the cancel has been read
    release.touch()
    assert worker.read() == [1, id, None, "done"]


def test_cancelling_what_has_ended_or_never_was_does_nothing(worker: Client) -> None:
    id = worker.request("ping")
    assert worker.response(id) == "pong"
    worker.cancel(id)
    worker.cancel(4000)
    assert worker.call("ping") == "pong"


def test_events_come_in_order_before_the_response(worker: Client) -> None:
    events = [
        {"event": "stage", "step": "head", "title": "Fitting"},
        {"event": "epoch", "step": "head", "number": 1, "of": 1, "metrics": {"loss": 0.5}},
        {"event": "warning", "message": "few photos"},
    ]
    id = worker.request("tell", events=events)
    assert [worker.read() for _ in range(4)] == [
        *(event(id, **told) for told in events),
        [1, id, None, "told"],
    ]


def test_events_after_the_response_are_dropped(worker: Client) -> None:
    id = worker.request("speak_after_the_answer")
    assert worker.read() == [1, id, None, "answered"]
    time.sleep(0.1)
    ping = worker.request("ping")
    assert worker.read() == [1, ping, None, "pong"]


@pytest.mark.parametrize(
    ("events", "padding", "most_read"),
    # Frames of 300 kB leave the socket in pieces: one that has begun must be finished, not replaced.
    [(40_000, 2000, 1000), (1000, 300_000, 20)],
)
def test_a_reader_that_sleeps_costs_no_memory_and_loses_no_epoch(
    worker: Client, tmp_path: Path, events: int, padding: int, most_read: int
) -> None:
    finished = tmp_path / "finished"
    id = worker.request("flood", events=events, padding=padding, epochs=10, finished=str(finished))
    wait_until(finished.exists, "the flood to end although nobody reads")
    *told, response = read_until_response(worker, id)
    epochs = [m[2]["event"]["number"] for m in told if m[2]["event"]["event"] == "epoch"]
    done = [m[2]["event"]["done"] for m in told if m[2]["event"]["event"] == "progress"]
    assert epochs == list(range(1, 11))
    assert done == sorted(set(done))
    assert len(done) < most_read  # what fits into the socket, and the latest
    assert done[-1] == events
    assert response["grown_kib"] < 8 * 1024  # the events weigh hundreds of megabytes


def test_events_that_can_not_be_dropped_wait_for_the_reader(worker: Client, tmp_path: Path) -> None:
    told = tmp_path / "told"
    worker.request("tell_forever", told=str(told))
    counts: list[int] = []

    def stands_still() -> bool:
        time.sleep(0.1)
        counts.append(int((told.exists() and told.read_text()) or 0))
        return len(counts) > 1 and counts[-1] == counts[-2] > 0

    wait_until(stands_still, "the events to stop")
    assert 80 <= counts[-1] <= 100  # 8 MiB of 100 kB, and what the socket holds
    first = [worker.read()[2]["event"]["event"] for _ in range(200)]
    assert first == ["stage"] * 200


def test_rows_are_pulled_one_batch_at_a_time(worker: Client) -> None:
    call = worker.request("read_rows", stream="s1")
    batches = [[{"input": b"\xff\xd8", "label": "a"}, {"input": "b.jpg", "label": 1}], [], [{"label": [1.5]}]]
    for number, batch in enumerate(batches, start=1):
        assert worker.read() == [0, number, "next_rows", {"stream": "s1", "max": 64, "modality": "image"}]
        worker.send([1, number, None, {"rows": batch, "done": number == 3}])
        assert [worker.read()[1] for _ in batch] == ["event"] * len(batch)
    assert worker.read() == [1, call, None, [row for batch in batches for row in batch]]


def test_no_more_rows_are_asked_for_than_are_used(worker: Client) -> None:
    call = worker.request("read_one_row", stream="s1")
    assert worker.read()[2] == "next_rows"
    worker.send([1, 1, None, {"rows": [{"label": 1}, {"label": 2}], "done": False}])
    assert worker.read() == [1, call, None, {"label": 1}]


def test_an_enumerable_that_raises_in_ruby_is_a_data_error(worker: Client) -> None:
    call = worker.request("read_rows", stream="s1")
    worker.read()
    worker.send([1, 1, {"type": "RemoteError", "message": "RuntimeError: disk on fire"}, None])
    assert worker.response(call) == {
        "type": "DataError",
        "message": 'the rows of stream "s1" can\'t be read: RuntimeError: disk on fire',
        "details": {},
        "python_class": "transfer_core.runtime.errors.DataError",
    }


def test_ruby_may_answer_a_request_for_rows_with_cancelled(worker: Client) -> None:
    call = worker.request("read_rows", stream="s1")
    worker.read()
    worker.send([1, 1, {"type": "Cancelled", "message": "cancelled"}, None])
    assert worker.response(call) == CANCELLED


def test_a_call_that_waits_for_rows_is_cancelled_at_once(worker: Client) -> None:
    call = worker.request("read_rows", stream="s1")
    assert worker.read() == [0, 1, "next_rows", {"stream": "s1", "max": 64, "modality": "image"}]
    worker.cancel(call)
    assert worker.read() == [1, call, CANCELLED, None]
    worker.send([1, 1, None, {"rows": [], "done": True}])  # the answer that was under way
    assert worker.call("ping") == "pong"


@pytest.mark.parametrize(
    "result",
    [
        None,
        {},
        {"rows": []},
        {"rows": [], "done": 1},
        {"rows": {}, "done": True},
        {"rows": [1], "done": True},
    ],
)
def test_rows_of_another_shape_fail_the_call(worker: Client, result: Any) -> None:
    call = worker.request("read_rows", stream="s1")
    worker.read()
    worker.send([1, 1, None, result])
    failure = worker.response(call)
    assert failure["type"] == "ProtocolError"
    assert failure["message"] == "the result of next_rows is not {rows: [maps], done: boolean}"


def event(call: int, **told: Any) -> list[Any]:
    return [2, "event", {"call": call, "event": told}]


def read_until_response(worker: Client, id: int) -> list[Any]:
    """The events of a call, then its result."""
    told = []
    while (message := worker.read())[0] != 1:
        told.append(message)
    assert message[:3] == [1, id, None]
    return [*told, message[3]]

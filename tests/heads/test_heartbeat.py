"""Progress and cancellation within long fits."""

import pytest

from transfer_core.heads import heartbeat
from transfer_core.heads.heartbeat import Heartbeat
from transfer_core.runtime.errors import Cancelled
from transfer_core.runtime.progress import Progress


def test_parts_are_counted_and_long_ones_reported_once_a_second(monkeypatch):
    events, now = [], [100.0]
    monkeypatch.setattr(heartbeat, "monotonic", lambda: now[0])
    beat = Heartbeat(Progress(events.append), "train", 5, "fits")
    beat.next()
    for seconds in (0.5, 0.4, 0.2, 0.3):
        now[0] += seconds
        beat.check()
    beat.next()
    beat.finish()
    assert [event["done"] for event in events] == [0, 0, 1, 5]
    assert {(event["total"], event["unit"], event["step"]) for event in events} == {(5, "fits", "train")}


def test_a_long_part_advances_with_its_checks(monkeypatch):
    events, now = [], [100.0]
    monkeypatch.setattr(heartbeat, "monotonic", lambda: now[0])
    beat = Heartbeat(Progress(events.append), "train", 110, "fits")
    beat.next()
    beat.next(100, checks=10)
    for _ in range(40):
        now[0] += 2
        beat.check()
    done = [event["done"] for event in events]
    assert done == sorted(done)
    assert done[:2] == [0, 1]
    assert done[11] == 1 + 63  # as many checks as expected
    assert done[-1] < 101


def test_a_long_part_can_be_cancelled():
    stop = []
    beat = Heartbeat(Progress(cancelled=lambda: bool(stop)), "train", 5, "fits")
    beat.next()
    beat.check()
    stop.append(True)
    with pytest.raises(Cancelled):
        beat.check()

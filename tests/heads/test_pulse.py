"""Signs of life from within long fits."""

import pytest

from transfer_core.heads import pulse
from transfer_core.heads.pulse import Pulse
from transfer_core.runtime.errors import Cancelled
from transfer_core.runtime.progress import Progress


def test_parts_are_counted_and_long_ones_told_once_a_second(monkeypatch):
    events, now = [], [100.0]
    monkeypatch.setattr(pulse, "monotonic", lambda: now[0])
    felt = Pulse(Progress(events.append), "train", 5, "fits")
    felt.next()
    for seconds in (0.5, 0.4, 0.2, 0.3):
        now[0] += seconds
        felt.check()
    felt.next()
    felt.finish()
    assert [event["done"] for event in events] == [0, 0, 1, 5]
    assert {(event["total"], event["unit"], event["step"]) for event in events} == {(5, "fits", "train")}


def test_a_long_part_can_be_cancelled():
    stop = []
    felt = Pulse(Progress(cancelled=lambda: bool(stop)), "train", 5, "fits")
    felt.next()
    felt.check()
    stop.append(True)
    with pytest.raises(Cancelled):
        felt.check()

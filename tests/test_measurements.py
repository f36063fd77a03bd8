"""Measured once per machine, whatever happens to the file."""

import errno
import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from transfer_core.runtime import measurements, paths
from transfer_core.runtime.measurements import remembered


@pytest.fixture(autouse=True)
def a_fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurements, "_here", {})


def never() -> None:
    raise AssertionError("measured twice")


def test_a_value_is_measured_once_and_by_one_process() -> None:
    assert remembered("speed", lambda: {"batch": 8}) == {"batch": 8}
    assert remembered("speed", never) == {"batch": 8}
    code = (
        "from transfer_core.runtime.measurements import remembered; "
        "print(remembered('speed', lambda: 'measured'))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told == "{'batch': 8}\n"


def test_who_measures_at_the_same_time_and_later_takes_what_was_written_first() -> None:
    def measure() -> int:
        remembered("speed", lambda: 1)
        measurements._here.clear()
        return 2

    assert remembered("speed", measure) == 1


# Several of these measure at the same time: what takes until the next 10 ms ends in all of them at once.
COMPETITOR = """
import json, os, time
from transfer_core.runtime.measurements import remembered

def measure():
    time.sleep(0.01 - time.time() % 0.01)
    return os.getpid()

own = [remembered(f"{os.getpid()} {number}", os.getpid) for number in range(20)]
print(json.dumps([remembered(f"speed {number}", measure) for number in range(60)]))
"""


def test_processes_that_measure_at_once_agree_and_lose_nothing() -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", COMPETITOR], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    told = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    assert told[0] == told[1] == told[2]
    kept = json.loads((paths.cache() / "measurements.json").read_text())
    assert len(kept) == 60 + 3 * 20


def test_a_process_that_holds_the_lock_and_sleeps_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurements, "_PATIENCE_S", 0.05)
    remembered("size", lambda: 1)
    with open(paths.cache() / "measurements.lock", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert remembered("speed", lambda: 2) == 2
    measurements._here.clear()
    assert (remembered("size", never), remembered("speed", never)) == (1, 2)


def test_a_file_system_without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    assert remembered("speed", lambda: 5) == 5
    measurements._here.clear()
    assert remembered("speed", never) == 5


def test_another_machine_measures_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    assert remembered("speed", lambda: 1) == 1
    monkeypatch.setattr(measurements, "_machine", lambda: "another")
    assert remembered("speed", lambda: 2) == 2
    assert len(json.loads((paths.cache() / "measurements.json").read_text())) == 2


@pytest.mark.parametrize("damage", ["", "[1, 2]", "\0\0", '{"cut'])
def test_a_damaged_file_is_measured_anew_and_mended(damage: str) -> None:
    file = paths.cache() / "measurements.json"
    file.parent.mkdir(parents=True)
    file.write_text(damage)
    assert remembered("speed", lambda: 3) == 3
    assert list(json.loads(file.read_text()).values()) == [3]


def test_where_nothing_can_be_written_a_process_still_measures_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TRANSFER_HOME", str(tmp_path / "file"))
    assert remembered("speed", lambda: 4) == 4
    assert remembered("speed", never) == 4


def test_the_oldest_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurements, "_MOST", 3)
    for number in range(5):
        remembered(f"speed {number}", lambda number=number: number)
    assert list(json.loads((paths.cache() / "measurements.json").read_text()).values()) == [2, 3, 4]

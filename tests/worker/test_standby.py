"""Threads that wait, and the order in which they are woken."""

import threading
import time

import pytest

from transfer_core.worker.standby import Standby


@pytest.fixture
def waiting():
    """A `Standby`, three threads that came to it in order, and who was woken since."""
    standby, woken, ready = Standby(), [], threading.Semaphore(0)

    def wait(name):
        with standby:
            ready.release()
            standby.wait(None)
            woken.append(name)

    threads = [threading.Thread(target=wait, args=[name]) for name in "abc"]
    for thread in threads:
        thread.start()
        ready.acquire()
    with standby:  # free only once the last one waits
        pass
    yield standby, woken
    with standby:
        standby.notify_all()
    for thread in threads:
        thread.join()
    assert sorted(woken) == ["a", "b", "c"]


def notify(standby, count=1):
    with standby:
        standby.notify(count)


def eventually(condition):
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)
    return condition()


def test_who_came_last_is_woken_first(waiting):
    standby, woken = waiting
    for expected in (["c"], ["c", "b"], ["c", "b", "a"]):
        notify(standby)
        assert eventually(lambda expected=expected: woken == expected), woken


def test_as_many_as_are_called(waiting):
    standby, woken = waiting
    notify(standby, 2)
    assert eventually(lambda: sorted(woken) == ["b", "c"])
    notify(standby, 0)
    time.sleep(0.05)
    assert sorted(woken) == ["b", "c"]


def test_a_thread_whose_wait_timed_out_takes_no_notification(waiting):
    standby, woken = waiting
    with standby:
        standby.wait(0.01)  # this thread came last, so a notification would go to it
        standby.notify()
    assert eventually(lambda: woken == ["c"]), woken

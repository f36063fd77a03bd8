from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from processes import children
from worker.client import Client


@pytest.fixture(autouse=True)
def leave_nothing_behind() -> Iterator[None]:
    before, threads = children(), set(threading.enumerate())
    yield
    assert children() <= before, "the test left a process behind"
    assert set(threading.enumerate()) <= threads, "the test left a thread behind"


@pytest.fixture
def start(leave_nothing_behind: None) -> Iterator[Callable[..., Client]]:
    """Start a worker; it is stopped after the test."""
    clients: list[Client] = []

    def start_worker(*command: str, **environment: str) -> Client:
        clients.append(Client(*command, **environment))
        return clients[-1]

    yield start_worker
    for client in clients:
        client.stop()


@pytest.fixture
def worker(start: Callable[..., Client]) -> Client:
    """A worker with the methods of fake_worker.py, its handshake done."""
    client = start()
    assert client.hello()["protocol"] == 1
    return client

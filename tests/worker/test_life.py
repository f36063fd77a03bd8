"""The worker goes when its parent does, and not before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from worker.client import PATIENCE_S, Client, environment, is_running, wait_until

PARENT = """
import os, sys, threading, time
from worker.client import Client, wait_until
from pathlib import Path

what, tmp = sys.argv[1], Path(sys.argv[2])
started = []

def start():
    started.append(Client())
    started[0].hello()
    if what != "idle":
        started[0].request("compute_in_c", started=str(tmp / "computing"))
        wait_until((tmp / "computing").exists, "the computation")

if what == "thread":
    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    time.sleep(0.1)
    print(started[0].call("ping"), flush=True)
    sys.exit(started[0].stop())
start()
if what == "shared" and os.fork() == 0:
    (tmp / "holder").write_text(str(os.getpid()))
    time.sleep(60)
    os._exit(0)
print(started[0].process.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def start_parent(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """A process that starts a worker and then sleeps."""
    parents: list[subprocess.Popen[str]] = []

    def start(what: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", PARENT, what, str(tmp_path)]
        parents.append(subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True))
        return parents[-1]

    yield start
    for parent in parents:
        parent.kill()
        parent.communicate(timeout=PATIENCE_S)


def test_the_end_of_the_stream_ends_an_idle_worker(worker: Client) -> None:
    worker.socket.close()
    assert worker.end() == (0, "")


def test_the_end_of_the_stream_before_hello_ends_it_too(start: Callable[..., Client]) -> None:
    client = start()
    client.socket.close()
    assert client.end() == (0, "")


def test_the_end_of_the_stream_ends_a_computation_in_c(worker: Client, tmp_path: Path) -> None:
    computing = tmp_path / "computing"
    worker.request("compute_in_c", started=str(computing))
    wait_until(computing.exists, "the computation")
    worker.socket.close()
    assert worker.end() == (0, "")  # the computation takes minutes


def test_a_parent_that_leaves_answers_unread_is_no_error(worker: Client) -> None:
    for _ in range(50):
        worker.request("ping")
    worker.read()
    worker.socket.close()
    assert worker.end() == (0, "")


def test_a_parent_that_leaves_while_the_worker_is_stuck_writing(worker: Client, tmp_path: Path) -> None:
    told = tmp_path / "told"
    worker.request("tell_forever", told=str(told))
    wait_until(told.exists, "the first warning")
    worker.socket.close()
    assert worker.end() == (0, "")


@pytest.mark.parametrize("what", ["idle", "computing", "shared"])
def test_the_worker_goes_with_a_parent_that_is_killed(
    start_parent: Callable[[str], subprocess.Popen[str]], tmp_path: Path, what: str
) -> None:
    parent = start_parent(what)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert is_running(pid)
    try:
        if what == "shared":
            wait_until((tmp_path / "holder").exists, "the process that holds the socket as well")
        parent.kill()
        wait_until(lambda: not is_running(pid), "the worker to go")
    finally:
        if (holder := tmp_path / "holder").exists():
            os.kill(int(holder.read_text()), signal.SIGKILL)


def test_the_worker_stays_when_the_thread_that_started_it_ends(
    start_parent: Callable[[str], subprocess.Popen[str]],
) -> None:
    output, _ = start_parent("thread").communicate(timeout=PATIENCE_S)
    assert output == "pong\n"


@pytest.mark.parametrize("ignored", [signal.SIGINT, signal.SIGHUP])
def test_signals_of_the_terminal_are_left_to_ruby(worker: Client, ignored: signal.Signals) -> None:
    worker.process.send_signal(ignored)
    assert worker.call("ping") == "pong"


def test_a_request_to_terminate_is_obeyed(worker: Client) -> None:
    worker.process.terminate()
    assert worker.end() == (-signal.SIGTERM, "")


def test_a_child_of_the_worker_does_not_keep_the_connection_open(worker: Client, tmp_path: Path) -> None:
    release = tmp_path / "release"
    child = worker.call("fork", release=str(release))
    try:
        worker.process.kill()
        assert list(worker.messages()) == []
        assert is_running(child)
    finally:
        release.touch()
        wait_until(lambda: not is_running(child), "the child to go")


def test_what_libraries_print_goes_to_standard_error(worker: Client) -> None:
    assert worker.call("print_a_lot") == ""  # and standard input is empty
    assert worker.call("ping") == "pong"
    worker.socket.close()
    output, errors = worker.process.communicate(timeout=PATIENCE_S)
    assert output == b""
    assert errors.decode().splitlines() == ["printed", "written to 1", "from a child"]

"""Hostile bytes are a ProtocolError, never another exception; a worker that gets them says so and leaves."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable

from worker.client import Client
from worker.fuzz import frame, outcomes


def test_every_frame_is_a_message_or_a_protocol_error() -> None:
    seen = outcomes(3000, seed=1)
    assert set(seen) <= {"message", "protocol error", "end"}
    assert seen["message"] > 100
    assert seen["protocol error"] > 1000


def test_a_worker_leaves_with_status_2_and_one_line(start: Callable[..., Client]) -> None:
    rng = random.Random(2)
    for _ in range(8):
        client = start()
        client.hello()
        try:
            for _ in range(200):
                client.socket.sendall(frame(rng))
            client.socket.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass
        status, said = client.end()
        assert (status, said.count("\n")) == (2, 1)
        assert said.startswith("transfer_core.worker: protocol error: ")

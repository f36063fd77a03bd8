"""Frames that take much more memory once they are decoded are refused before anything of them is made."""

from __future__ import annotations

import math
import random
import socket
import struct
import tracemalloc
from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from transfer_core.runtime.errors import ProtocolError
from transfer_core.worker import decoded_size, protocol
from worker.client import Client

pytestmark = pytest.mark.slow

UNITS = {
    "maps": b"\x80",
    "lists": b"\x90",
    "texts": b"\xa2ab",
    "maps of one": b"\x81\xa1a\xc0",
    "tensors": b"\xc7\x0b\x01\x93\xa5uint8\x91\x00\xc4\x00",
    "numbers": b"\xcd\x01\x01",
}


def request_with(unit: bytes, size: int) -> bytes:
    """A request with a list of equal values, of about `size` bytes."""
    count = size // len(unit)
    return b"\x94\x00\x07\xa4echo\x81\xa5value\xdd" + struct.pack(">I", count) + unit * count


@pytest.mark.parametrize("name", UNITS)
def test_a_bomb_is_refused_before_it_is_decoded(name: str) -> None:
    bomb = request_with(UNITS[name], 22_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError, match=r"^more than 268435456 bytes of memory once it is decoded$"):
            protocol.parse_message(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < len(bomb)


def test_a_bomb_within_a_tensor_is_refused() -> None:
    inner = request_with(b"\x80", 20_000)
    with pytest.raises(ProtocolError, match=r"^more than 2000 bytes of memory once it is decoded$"):
        protocol.parse_message(msgpack.packb([1, 1, None, msgpack.ExtType(1, inner)]))


def test_a_worker_that_gets_a_bomb_leaves_with_one_line(start: Callable[..., Client]) -> None:
    client = start()
    client.hello()
    bomb = request_with(b"\x80", 20_000_000)
    client.socket.sendall(struct.pack(">I", len(bomb)) + bomb)
    client.socket.shutdown(socket.SHUT_WR)
    status, said = client.end()
    assert (status, said.splitlines()) == (
        2,
        ["transfer_core.worker: protocol error: more than 268435456 bytes of memory once it is decoded"],
    )


def test_large_requests_pass() -> None:
    rng = random.Random(1)
    rows = [{f"column {i}": rng.random() for i in range(500)} for _ in range(256)]
    for value in (rows, [rng.randbytes(60_000) for _ in range(256)], [[0.5] * 1000] * 1000, [0] * 4_000_000):
        content = msgpack.packb([0, 7, "echo", {"value": value}])
        assert protocol.parse_message(content) == protocol.Request(7, "echo", {"value": value})


def test_memory_is_counted_as_the_protocol_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoded_size, "MOST_PER_BYTE", math.inf)  # count in small frames, too
    rng = random.Random(1)
    for _ in range(300):
        value = any_value(rng)
        content = msgpack.packb(value)
        decoded_size.check_decoded_size(content, memory(value))
        with pytest.raises(ProtocolError):
            decoded_size.check_decoded_size(content, memory(value) - 1)


def any_value(rng: random.Random, depth: int = 0) -> Any:
    lengths = [0, 1, 2, 4, 8, 16, 31, 32, 255, 256, 70_000]
    match rng.randrange(9 if depth < 4 else 5):
        case 0:
            return rng.choice([None, True, False, 0, -1, 127, -32])
        case 1:
            return rng.choice([128, 300, 70_000, 2**40, -33, -300, -70_000, -(2**40), 0.5])
        case 2:
            return rng.choice(["x", b"y"]) * rng.choice(lengths)
        case 3:
            return msgpack.ExtType(1, b"z" * rng.choice(lengths))
        case 4:
            numbers = [rng.choice([1, 1000, 0.5])] * rng.choice([15, 16, 17 if depth else 70_000])
            return [*numbers, *rng.sample([1, 1000, 0.5, "x"], rng.randrange(4))]
        case 5 | 6:
            return [any_value(rng, depth + 1) for _ in range(rng.randrange(18))]
    return {str(i): any_value(rng, depth + 1) for i in range(rng.randrange(18))}


def memory(value: Any) -> int:
    """Bytes of memory, as docs/reference/protocol.md counts them."""
    match value:
        case None | bool():
            return 8
        case int() | float():
            return 8 if isinstance(value, int) and -32 <= value <= 127 else 40
        case msgpack.ExtType():
            return 1024
        case str() | bytes():
            return 72
        case list():
            return 72 + sum(map(memory, value))
    return 200 + sum(memory(key) + memory(inner) for key, inner in value.items())

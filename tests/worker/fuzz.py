"""Frames that are nearly right: the test vectors, cut, bent and mixed.

python tests/worker/fuzz.py 100000
"""

from __future__ import annotations

import io
import json
import random
import sys
from collections import Counter
from pathlib import Path

from transfer_core.runtime.errors import ProtocolError
from transfer_core.worker import protocol

FILE = Path(__file__).parents[2] / "docs" / "reference" / "protocol_vectors.json"
VECTORS = [bytes.fromhex(vector["hex"]) for vector in json.loads(FILE.read_text("utf-8"))]
SMALL = [data for data in VECTORS if len(data) < 10_000]
NASTY = [
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xc9\xff\xff\xff\xff\x02",
    b"\x91" * 2000,
    b"\x81\xa1a" * 1500,
    b"\xc1",
    b"\xd6\xff\0\0\0\0",
    b"\xc7\x03\x01\x93\xc0\xc0",
    b"\xcf" + b"\xff" * 8,
    b"\xa1\xff",
]


def frame(rng: random.Random) -> bytes:
    """One frame, perhaps with others behind it."""
    data = rng.choice(SMALL)
    for _ in range(rng.randint(1, 3)):
        data = _mutate(data, rng)
    if rng.random() < 0.6 and len(data) > 4:  # past the length, into the content
        return (len(data) - 4).to_bytes(4, "big") + data[4:]
    return data


def _mutate(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(max(len(data), 1))
    match rng.choice(["flip", "cut", "insert", "join", "nasty", "length"]):
        case "flip":
            return data[:at] + rng.randbytes(1) + data[at + 1 :]
        case "cut":
            return data[:at]
        case "insert":
            return data[:at] + rng.randbytes(rng.randint(1, 6)) + data[at:]
        case "join":
            return data + rng.choice(SMALL)
        case "nasty":
            return data[:at] + rng.choice(NASTY) + data[at:]
    return rng.randbytes(4) + data[4:]


def outcomes(cases: int, seed: int) -> Counter[str]:
    """How often a frame was a message, the end, or a protocol error; anything else must not be."""
    rng = random.Random(seed)
    return Counter(_outcome(frame(rng)) for _ in range(cases))


def _outcome(data: bytes) -> str:
    try:
        content = protocol.read_frame(io.BytesIO(data))
        if content is None:
            return "end"
        protocol.parse_message(content)
    except ProtocolError:
        return "protocol error"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    return "message"


if __name__ == "__main__":
    print(dict(outcomes(int(sys.argv[1]), seed=1)))

"""Answers every request with the bytes of MessagePack in a file.

The file is a map: `hello`, `events`, and one of `result`, `each` (for every input), `results` (one after the
other) and `error`.
"""

import sys
from itertools import count
from pathlib import Path

import msgpack
from wire import answer, connection, hello, read

FILE = Path(sys.argv[1])
numbers = count()


def send(content):
    connection.sendall(len(content).to_bytes(4, "big") + content)


def lie(id, said, inputs=()):
    for event in said.get("events", []):
        send(b"\x93\x02\xa5event\x82\xa4call" + msgpack.packb(id) + b"\xa5event" + event)
    if "error" in said:
        return send(b"\x94\x01" + msgpack.packb(id) + said["error"] + b"\xc0")
    if "each" in said:
        said["result"] = msgpack.Packer().pack_array_header(len(inputs)) + said["each"] * len(inputs)
    if "results" in said:
        said["result"] = said["results"][next(numbers)]
    return send(b"\x94\x01" + msgpack.packb(id) + b"\xc0" + said["result"])


said = msgpack.unpackb(FILE.read_bytes()) if FILE.exists() else {}
if "hello" in said:
    _, id, _, _ = read()
    lie(id, {"result": said["hello"]})
else:
    hello()
while True:
    match read():
        case [0, id, "ping", _]:
            answer(id, "pong")
        case [0, id, _, params]:
            lie(id, msgpack.unpackb(FILE.read_bytes()), params.get("inputs", ()))

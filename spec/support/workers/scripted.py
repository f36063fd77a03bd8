"""Reply to every request with the MessagePack in a file.

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


def reply(id, content, inputs=()):
    for event in content.get("events", []):
        send(b"\x93\x02\xa5event\x82\xa4call" + msgpack.packb(id) + b"\xa5event" + event)
    if "error" in content:
        return send(b"\x94\x01" + msgpack.packb(id) + content["error"] + b"\xc0")
    if "each" in content:
        content["result"] = msgpack.Packer().pack_array_header(len(inputs)) + content["each"] * len(inputs)
    if "results" in content:
        content["result"] = content["results"][next(numbers)]
    return send(b"\x94\x01" + msgpack.packb(id) + b"\xc0" + content["result"])


content = msgpack.unpackb(FILE.read_bytes()) if FILE.exists() else {}
if "hello" in content:
    _, id, _, _ = read()
    reply(id, {"result": content["hello"]})
else:
    hello()
while True:
    match read():
        case [0, id, "ping", _]:
            answer(id, "pong")
        case [0, id, _, params]:
            reply(id, msgpack.unpackb(FILE.read_bytes()), params.get("inputs", ()))

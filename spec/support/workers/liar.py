"""Answers every request with a file's `{hello?, events?, result | error}`, each the bytes of MessagePack."""

import sys
from pathlib import Path

import msgpack
from wire import answer, connection, hello, read

FILE = Path(sys.argv[1])


def send(content):
    connection.sendall(len(content).to_bytes(4, "big") + content)


def lie(id, said):
    for event in said.get("events", []):
        send(b"\x93\x02\xa5event\x82\xa4call" + msgpack.packb(id) + b"\xa5event" + event)
    if "error" in said:
        send(b"\x94\x01" + msgpack.packb(id) + said["error"] + b"\xc0")
    else:
        send(b"\x94\x01" + msgpack.packb(id) + b"\xc0" + said["result"])


said = msgpack.unpackb(FILE.read_bytes())
if "hello" in said:
    _, id, _, _ = read()
    lie(id, {"result": said["hello"]})
else:
    hello()
while True:
    match read():
        case [0, id, "ping", _]:
            answer(id, "pong")
        case [0, id, _, _]:
            lie(id, msgpack.unpackb(FILE.read_bytes()))

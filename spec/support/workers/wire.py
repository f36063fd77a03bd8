"""Implement the protocol independently of the real worker, from docs/reference/protocol.md."""

import os
import queue
import socket
import sys
import threading

import msgpack

connection = socket.socket(fileno=int(sys.argv[sys.argv.index("--fd") + 1]))
arguments = sys.argv[1 : sys.argv.index("--fd")]
_lock = threading.Lock()


def at_end():
    """Called at the end of the stream."""
    os._exit(0)


def read():
    """Return the next message."""
    length = int.from_bytes(_exactly(4), "big")
    return msgpack.unpackb(_exactly(length))


def _exactly(count):
    content = b""
    while len(content) < count:
        chunk = connection.recv(count - len(content))
        if not chunk:
            at_end()
        content += chunk
    return content


def frame(message):
    content = msgpack.packb(message)
    return len(content).to_bytes(4, "big") + content


def write(message):
    with _lock:
        connection.sendall(frame(message))


def answer(id, result):
    write([1, id, None, result])


def refuse(id, type, message, **more):
    write([1, id, {"type": type, "message": message, "details": {}} | more, None])


def hello(protocol=1):
    kind, id, method, params = read()
    assert (kind, method) == (0, "hello"), (kind, method)
    assert params.keys() == {"protocol", "gem_version"}, params
    answer(
        id,
        {
            "protocol": protocol,
            "core_version": "9.9.9",
            "python": "3",
            "pid": os.getpid(),
            "capabilities": [],
        },
    )


class Server:
    """Run each request in a thread; `methods` maps names to functions (server, id, params)."""

    def __init__(self, methods):
        self.methods = methods
        self.cancelled = set()
        self.cancel_arrived = threading.Condition()
        self.answers = {}
        self.questions = iter(range(2**32))

    def run(self):
        hello()
        while True:
            match read():
                case [0, id, "ping", _]:
                    answer(id, "pong")
                case [0, id, method, params]:
                    threading.Thread(
                        target=self.methods[method], args=(self, id, params), daemon=True
                    ).start()
                case [1, id, error, result]:
                    self.answers[id].put((error, result))
                case [2, "cancel", {"call": id}]:
                    with self.cancel_arrived:
                        self.cancelled.add(id)
                        self.cancel_arrived.notify_all()

    def ask(self, method, **params):
        """Send a request to Ruby and return (error, result)."""
        id = next(self.questions)
        self.answers[id] = queue.SimpleQueue()
        write([0, id, method, params])
        return self.answers[id].get()

    def wait_for_cancel(self, id):
        with self.cancel_arrived:
            self.cancel_arrived.wait_for(lambda: id in self.cancelled)

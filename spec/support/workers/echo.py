"""Execute scripted behaviour: echo, stall, crash, print, send invalid bytes."""

import os
import queue
import signal
import socket
import sys
import threading
import time

from wire import Server, answer, connection, frame, refuse, write

signal.signal(signal.SIGINT, signal.SIG_IGN)
replies = queue.SimpleQueue()


def echo(server, id, params):
    answer(id, params)


def pid(server, id, params):
    answer(id, os.getpid())


def slow(server, id, params):
    time.sleep(params["seconds"])
    answer(id, os.getpid())


def stall(server, id, params):
    """Never respond, not even to a cancel."""


def train(server, id, params):
    """Run until cancelled."""
    server.wait_for_cancel(id)
    refuse(id, "Cancelled", "cancelled")


def crash(server, id, params):
    print("going down", file=sys.stderr, flush=True)
    os.kill(os.getpid(), getattr(signal, params["signal"]))


def die_saying(server, id, params):
    print(params["words"], file=sys.stderr, flush=True)
    os.abort()


def environment(server, id, params):
    answer(id, dict(os.environ))


def leave(server, id, params):
    os._exit(params["status"])


def print_a_lot(server, id, params):
    for number in range(params["lines"]):
        print(f"line {number} of standard output")
        print(f"line {number} of standard error, naïve", file=sys.stderr)
    sys.stdout.flush()
    answer(id, "printed")


def say(server, id, params):
    for _ in range(params["times"]):
        write(params["message"])


def babble(server, id, params):
    connection.sendall(params["bytes"])
    connection.shutdown(socket.SHUT_WR)


def half_a_frame(server, id, params):
    connection.sendall(frame([1, id, None, "x" * 1000])[:100])
    os._exit(0)


def garbage(server, id, params):
    connection.sendall(b"GET / HTTP/1.1\r\n\r\n")


def events(server, id, params):
    for number in range(params["count"]):
        event = {"event": "epoch", "step": "train", "number": number, "of": params["count"], "metrics": {}}
        write([2, "event", {"call": id, "event": event}])
    answer(id, params["count"])


def rows(server, id, params):
    """Request the rows of a stream, `max` at a time, at most `stop_after` times."""
    seen, requests = [], 0
    while True:
        error, result = server.ask("next_rows", stream=params["stream"], max=params["max"])
        if error:
            return refuse(id, error["type"], error["message"])
        requests += 1
        seen += result["rows"]
        if result["done"] or requests == params.get("stop_after"):
            return answer(id, {"rows": seen, "requests": requests})


def ask_and_go(server, id, params):
    """Request rows, end the call meanwhile, and return the reply in the next call."""
    threading.Thread(target=lambda: replies.put(server.ask("next_rows", **params)), daemon=True).start()
    time.sleep(0.1)
    answer(id, None)


def reply(server, id, params):
    answer(id, replies.get(timeout=5))


def question(server, id, params):
    answer(id, server.ask(params["method"], **params["params"]))


def fail(server, id, params):
    refuse(id, **params)


Server({name: thing for name, thing in globals().items() if callable(thing)}).run()

"""The real server, around methods that need no torch: they echo, stall, print, flood and fail."""

from __future__ import annotations

import hashlib
import os
import resource
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from transfer_core.runtime.errors import DataError, DependencyError, Problem, RecipeError
from transfer_core.worker.__main__ import main
from transfer_core.worker.calls import Call
from transfer_core.worker.methods import METHODS
from transfer_core.worker.server import Method

HEAVY = {"torch", "torchvision", "numpy", "PIL", "msgspec", "safetensors", "sklearn"}

PROMISES = ThreadPoolExecutor(1)


class PrivateDataError(DataError):
    """Ruby has no class of this name."""


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


def echo(call: Call, value: Any, later: bool = False) -> Any:
    return value


def pid(call: Call) -> int:
    return os.getpid()


def promise(call: Call, value: Any) -> Future[Any]:
    return PROMISES.submit(lambda: value)


def heavy_modules(call: Call) -> list[str]:
    return sorted(HEAVY & sys.modules.keys())


def print_a_lot(call: Call) -> str:
    print("printed")
    os.write(1, b"written to 1\n")
    os.system("echo from a child")
    return sys.stdin.read()


def compute_in_c(call: Call, started: str) -> None:
    Path(started).touch()
    hashlib.pbkdf2_hmac("sha512", b"password", b"salt", 500_000_000)  # minutes, without the GIL


def wait_for_cancel(call: Call) -> None:
    call.progress.stage("train", "waiting")
    while True:
        call.progress.check()
        time.sleep(0.002)


def ignore_cancel(call: Call, release: str) -> str:
    call.progress.stage("train", "waiting")
    while not os.path.exists(release):
        time.sleep(0.002)
    return "done"


def tell(call: Call, events: list[dict[str, Any]]) -> str:
    for event in events:
        call.progress.emit(event)
    return "told"


def flood(call: Call, events: int, padding: int, epochs: int, finished: str) -> dict[str, int]:
    """Events without a pause; tells how much memory that took."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    every = events // epochs
    for n in range(1, events + 1):
        call.progress.advance("train", n, events, "x" * padding)
        if n % every == 0:
            call.progress.epoch("train", n // every, epochs, {"loss": 1 / n})
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    Path(finished).touch()
    return {"grown_kib": grown_kib}


def fork(call: Call, release: str) -> int:
    """A child that outlives the worker, until the file `release` is there."""
    child = os.fork()
    if child == 0:
        while not os.path.exists(release):
            time.sleep(0.01)
        os._exit(0)
    return child


def tell_forever(call: Call, told: str) -> None:
    for n in range(10_000):
        call.progress.stage("train", "x" * 100_000)  # warnings are shortened
        Path(told).write_text(str(n))


def speak_after_the_answer(call: Call) -> str:
    def speak() -> None:
        time.sleep(0.05)
        call.progress.warning("too late")

    threading.Thread(target=speak).start()
    return "answered"


def read_rows(call: Call, stream: str) -> list[Any]:
    rows = []
    for row in call.rows(stream):
        rows.append(row)
        call.progress.advance("choose", len(rows), 0, "rows")
    return rows


def read_one_row(call: Call, stream: str) -> Any:
    return next(iter(call.rows(stream)))


def fail(call: Call, how: str) -> None:
    def innermost() -> None:
        raise {
            "recipe": RecipeError([Problem("steps[1].epochs", "expected 1"), Problem("", "no data")]),
            "data": DataError("photos/a.jpg is empty", "photos/a.jpg"),
            "private": PrivateDataError("secret"),
            "dependency": DependencyError("timm backbones", "timm", "timm"),
            "memory": MemoryError(),
            "exit": SystemExit(3),
            "mute": Mute(),
            "long": ValueError("é" * 100_000),
            "long problem": RecipeError([Problem("é" * 100_000, "unknown")]),
            "details that can't be sent": DataError("a photo", object()),  # type: ignore[arg-type]
            "surrogate": ValueError("caf\udce9"),
            "empty": KeyError(),
        }[how]

    innermost()


def torch_out_of_memory(call: Call) -> None:
    import torch

    torch.empty(1 << 60)


def result_that_cannot_be_sent(call: Call) -> Any:
    return {"a": object()}


def count_up(call: Call, count: int, dtype: str = "float64") -> Any:
    import numpy

    return numpy.arange(count, dtype=dtype)


def double(call: Call, numbers: Any) -> Any:
    return numbers.to_numpy() * 2


FAKES = {
    **METHODS,
    "echo": Method(echo, "light"),
    "pid": Method(pid, "now"),
    "promise": Method(promise, "serve"),
    "heavy_modules": Method(heavy_modules, "now"),
    "print_a_lot": Method(print_a_lot, "compute"),
    "compute_in_c": Method(compute_in_c, "compute"),
    "wait_for_cancel": Method(wait_for_cancel, "compute"),
    "ignore_cancel": Method(ignore_cancel, "compute"),
    "tell": Method(tell, "compute"),
    "flood": Method(flood, "compute"),
    "fork": Method(fork, "light"),
    "tell_forever": Method(tell_forever, "compute"),
    "speak_after_the_answer": Method(speak_after_the_answer, "compute"),
    "read_rows": Method(read_rows, "compute"),
    "read_one_row": Method(read_one_row, "compute"),
    "fail": Method(fail, "compute"),
    "torch_out_of_memory": Method(torch_out_of_memory, "compute"),
    "result_that_cannot_be_sent": Method(result_that_cannot_be_sent, "compute"),
    "count_up": Method(count_up, "compute"),
    "double": Method(double, "compute"),
}

if __name__ == "__main__":
    main(sys.argv[1:], methods=FAKES, warm_up=lambda: None)

"""The bridge between Ruby and Python: what the second language costs."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benchmarks import photos, training
from benchmarks.environment import HERE, OURS, ROOT, MissingError, ours, ruby, settings
from benchmarks.part import Measured, Options
from benchmarks.process import measure as measure_process
from benchmarks.table import Section, Table, Target

THREADS, BATCH = 8, 64


def measure(options: Options) -> Measured:
    """With a model trained on the quickstart's photos, in a home of its own."""
    with tempfile.TemporaryDirectory(prefix="transfer-benchmark-") as folder:
        home = Path(folder)
        model, pictures, photo = _train(home, options)
        options.say("ruby with and without the gem")
        bare, gem = _start_ruby(options.count(15, 3))
        options.say("workers from nothing")
        started = [_start_worker(home, model) for _ in range(options.count(7, 2))]
        options.say("empty calls, and predictions from both sides in turn")
        calls = options.count(5000, 200)
        with _talking(ruby(HERE / "peers" / "bridge.rb", model), home) as from_ruby:
            _ask(from_ruby, f"predict {photo}")
            bounces = _bounce(calls)
            _ask(from_ruby, "ping 200")
            pings = _ask(from_ruby, f"ping {calls}")
            with _talking(ours("in_process.py", model), home) as in_process:
                pairs = [_pair(from_ruby, in_process, photo) for _ in range(options.count(220, 12))]
                options.say(f"{THREADS} threads, and ready batches, in turn")
                rounds = [_crowds(from_ruby, in_process, pictures) for _ in range(options.count(8, 2))]
    return {
        "bare_s": bare,
        "gem_s": gem,
        "hello_s": [hello for hello, _ in started],
        "ready_s": [ready for _, ready in started],
        "bounces_s": bounces,
        "pings_s": pings,
        "predict_ruby_s": [mine for mine, _ in pairs[len(pairs) // 10 :]],
        "predict_python_s": [other for _, other in pairs[len(pairs) // 10 :]],
        "photos": len(list(pictures.glob("*/*/*.png"))),
        "crowd_s": [crowd for crowd, _, _ in rounds[1:]],
        "batches_s": [batches for _, batches, _ in rounds[1:]],
        "one_by_one_s": [one for _, _, one in rounds[1:]],
    }


def report(measured: Measured) -> Section:
    """Medians; of empty calls also the slowest hundredth."""
    loading = (median(measured["gem_s"]) - median(measured["bare_s"])) * 1000
    hello, ready = median(measured["hello_s"]), median(measured["ready_s"])
    p50, p99 = median(measured["pings_s"]) * 1e6, quantiles(measured["pings_s"], n=100)[98] * 1e6
    mine, other = median(measured["predict_ruby_s"]) * 1000, median(measured["predict_python_s"]) * 1000
    crowd, batches, one = (measured[name] for name in ("crowd_s", "batches_s", "one_by_one_s"))
    rows = (
        ("ruby, bare", f"{median(measured['bare_s']) * 1000:.0f} ms"),
        ('ruby, with `require "transfer"`', f"{median(measured['gem_s']) * 1000:.0f} ms"),
        ("worker: start to the answer to hello", f"{hello:.2f} s"),
        ("worker: start to the first computed answer, a model read", f"{ready:.2f} s"),
        ("bare socket to another core, median", f"{median(measured['bounces_s']) * 1e6:.0f} µs"),
        (f"empty call, median of {len(measured['pings_s']):,}", f"{p50:.0f} µs"),
        ("empty call, 99th percentile", f"{p99:.0f} µs"),
        ("predict one photo, from Ruby", f"{mine:.2f} ms"),
        ("predict one photo, within Python", f"{other:.2f} ms"),
        (f"{THREADS} threads of Ruby, a photo each", f"{measured['photos'] / median(crowd):.0f} photos/s"),
        (f"ready batches of {BATCH}, within Python", f"{measured['photos'] / median(batches):.0f} photos/s"),
        ("one photo after the other, within Python", f"{measured['photos'] / median(one):.0f} photos/s"),
    )
    return Section(
        title="The bridge",
        text=(
            "Predictions are made from both sides in turn, so that both see the same machine. Empty calls go "
            "to a worker that has read its model; the bare socket bounces 20 bytes between two processes of "
            "Python, and is what no bridge can do without.",
        ),
        tables=(Table(("", "median"), rows),),
        targets=(
            Target("require over bare ruby", loading, 60, False, "ms"),
            Target("worker answers hello", hello, 0.4, False, "s"),
            Target("worker is ready", ready, 2.5, False, "s"),
            Target("empty call, median", p50, 60, False, "µs"),
            Target("empty call, 99th percentile", p99, 300, False, "µs"),
            Target("one prediction, Ruby over Python", mine - other, 0.5, False, "ms"),
            Target(f"{THREADS} threads, over ready batches", _median_ratio(batches, crowd), 0.9),
            Target(f"{THREADS} threads, over one after the other", _median_ratio(one, crowd), 2),
        ),
    )


def _train(home: Path, options: Options) -> tuple[str, Path, str]:
    """A model in `home`, the folder of its photos, and one of them to ask it about."""
    folder = photos.split(0, 60 if options.quick else None)
    argv, _ = training.command({"data": training.folders(folder)})(home)
    run = measure_process(lambda _: (argv, settings(TRANSFER_HOME=home)))
    if run.problem:
        raise MissingError(f"no model to ask: {run.problem}")
    return run.said["trainings"][0]["model"], folder, str(sorted(folder.glob("test/*/*"))[0])


def _start_ruby(times: int) -> tuple[list[float], list[float]]:
    """Seconds of `ruby -e ''` without and with the gem, in turn."""
    both: tuple[list[float], list[float]] = ([], [])
    for _ in range(times):
        for found, code in zip(both, ("", 'require "transfer"'), strict=True):
            started = time.monotonic()
            subprocess.run(ruby("-e", code), check=True, cwd=ROOT)
            found.append(time.monotonic() - started)
    return both


def _start_worker(home: Path, model: str) -> tuple[float, float]:
    """Seconds from exec to the answer to `hello`, and to that to a `predict` without photos."""
    mine, other = socket.socketpair()
    environment = settings(TRANSFER_HOME=home, PYTHONPATH=ROOT / "python")
    command = [str(OURS), "-m", "transfer_core.worker", "--fd", str(other.fileno())]
    started = time.monotonic()
    worker = subprocess.Popen(
        command,
        pass_fds=[other.fileno()],
        env=environment,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    other.close()
    with mine:
        mine.settimeout(60)
        _request(mine, 1, "hello", {"protocol": 1, "gem_version": "0"})
        hello_s = time.monotonic() - started
        _request(mine, 2, "predict", {"model": model, "inputs": []})
        ready_s = time.monotonic() - started
    worker.wait(30)
    return hello_s, ready_s


def _request(connection: socket.socket, number: int, method: str, params: dict[str, Any]) -> None:
    """Ask and wait for the answer; docs/reference/protocol.md, Frames and Messages."""
    import msgpack

    body = msgpack.packb([0, number, method, params])
    connection.sendall(struct.pack(">I", len(body)) + body)
    with connection.makefile("rb", buffering=0) as frames:
        while True:
            (size,) = struct.unpack(">I", _exactly(frames, 4))
            kind, answered, *rest = msgpack.unpackb(_exactly(frames, size), strict_map_key=False)
            if kind == 1 and answered == number:
                if rest[0] is not None:
                    raise MissingError(f"the worker answered {method} with {rest[0]}")
                return


def _exactly(frames: Any, size: int) -> bytes:
    found = b""
    while len(found) < size:
        chunk = frames.read(size - len(found))
        if not chunk:
            raise MissingError("the worker hung up")
        found += chunk
    return found


def _bounce(times: int) -> list[float]:
    """Seconds for a few bytes to a process on another core and back."""
    mine, other = socket.socketpair()
    echo = "import socket\nwith socket.socket(fileno=0) as s:\n while said := s.recv(64):\n  s.sendall(said)"
    cores = os.sched_getaffinity(0)
    found = []
    with subprocess.Popen([sys.executable, "-c", echo], stdin=other) as process, mine:
        other.close()
        os.sched_setaffinity(process.pid, {max(cores)})
        os.sched_setaffinity(0, {min(cores)})
        for _ in range(times + 200):
            started = time.monotonic()
            mine.sendall(bytes(20))
            mine.recv(64)
            found.append(time.monotonic() - started)
    os.sched_setaffinity(0, cores)
    return found[200:]


@contextmanager
def _talking(command: Sequence[str], home: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that answers line by line."""
    environment = settings(
        TRANSFER_HOME=home, PYTHONPATH=f"{ROOT / 'python'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    )
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
    ) as process:
        try:
            yield process
        finally:
            assert process.stdin
            process.stdin.close()


def _ask(process: subprocess.Popen[str], line: str) -> list[float]:
    assert process.stdin
    assert process.stdout
    process.stdin.write(line + "\n")
    process.stdin.flush()
    found: list[float] = json.loads(process.stdout.readline())
    return found


def _pair(
    from_ruby: subprocess.Popen[str], in_process: subprocess.Popen[str], photo: str
) -> tuple[float, float]:
    return _ask(from_ruby, f"predict {photo}")[0], _ask(in_process, f"predict {photo}")[0]


def _crowds(
    from_ruby: subprocess.Popen[str], in_process: subprocess.Popen[str], folder: Path
) -> tuple[float, float, float]:
    """Seconds for all photos: by threads of Ruby, in ready batches, one after the other."""
    crowd = _ask(from_ruby, f"crowd {THREADS} {folder}")[0]
    batches = _ask(in_process, f"batches {BATCH} {folder}")[0]
    return crowd, batches, _ask(in_process, f"batches 1 {folder}")[0]


def _median_ratio(longer: Sequence[float], shorter: Sequence[float]) -> float:
    """Of each round: what else the machine did in it slowed down both."""
    return median(a / b for a, b in zip(longer, shorter, strict=True))

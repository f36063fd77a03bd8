"""Measures whole processes from outside, from exec to exit."""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.environment import ROOT, settings

LIMIT_S = 900
_LOOK_EVERY_S = 0.05


@dataclass(frozen=True)
class Run:
    """One process, its children included.

    `wall_s` from exec to exit; `cpu_s` user and system time; `peak_mb` the highest resident memory of the
    process plus that of each child that runs another program (a forked child shares its parent's memory and
    is not counted again); `said` the JSON on its last line, in which times are seconds since `started`
    (CLOCK_MONOTONIC).
    """

    wall_s: float
    cpu_s: float
    peak_mb: float
    said: dict[str, Any] = field(default_factory=dict)
    started: float = 0.0
    problem: str | None = None

    def plain(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)


Command = Callable[[Path], tuple[Sequence[str], Mapping[str, str]]]


def fresh(command: Sequence[str], **extra: str) -> Command:
    """The command with a `TRANSFER_HOME` of its own each time: nothing is known from an earlier run."""
    return lambda home: (command, settings(TRANSFER_HOME=home, **extra))


def measure(command: Command) -> Run:
    """Run it once in a new, empty home."""
    with tempfile.TemporaryDirectory(prefix="transfer-benchmark-") as home:
        argv, environment = command(Path(home))
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            started = time.monotonic()
            child = subprocess.Popen(argv, stdout=out, stderr=err, env=environment, cwd=ROOT, text=True)
            peaks: dict[str, int] = {}
            _look(child.pid, peaks)
            watch = threading.Thread(target=_watch, args=(child.pid, peaks), daemon=True)
            watch.start()
            limit = threading.Timer(LIMIT_S, child.kill)
            limit.start()
            _, status, usage = os.wait4(child.pid, 0)
            wall_s = time.monotonic() - started
            limit.cancel()
            watch.join()
            child.returncode = os.waitstatus_to_exitcode(status)
            out.seek(0)
            err.seek(0)
            said, problem = _answer(child.returncode, out.read(), err.read())
    # Not ru_maxrss: a child inherits there what its parent held when it forked.
    peak_mb = sum(peaks.values()) / 1024
    return Run(wall_s, usage.ru_utime + usage.ru_stime, peak_mb, said, started, problem)


def alternate(
    commands: Mapping[str, Command], runs: Mapping[str, int], say: Callable[[str], None]
) -> dict[str, list[Run]]:
    """Each command as often as `runs` says, in rounds: what disturbs the machine disturbs all of them."""
    found: dict[str, list[Run]] = {name: [] for name in commands}
    order = random.Random(0)
    for number in range(max(runs.values())):
        names = [name for name in commands if number < runs[name]]
        order.shuffle(names)
        for name in names:
            if found[name] and found[name][-1].problem:
                continue
            run = measure(commands[name])
            found[name].append(run)
            say(f"{name}, run {number + 1}: {run.problem or f'{run.wall_s:.1f} s'}")
    return found


def median(runs: Sequence[Mapping[str, Any]], key: str) -> float:
    """Of one figure of plain runs."""
    return float(statistics.median(run[key] for run in runs))


def _answer(status: int, out: str, err: str) -> tuple[dict[str, Any], str | None]:
    last = (out.strip().splitlines() or [""])[-1]
    if status == 0:
        try:
            return json.loads(last), None
        except ValueError:
            return {}, f"printed no JSON on its last line but {last[:200]!r}"
    return {}, f"exit status {status}: {_reason(err)[:300]}"


def _reason(err: str) -> str:
    """The line that says what went wrong: Ruby begins with it, Python ends with it."""
    lines = [line for line in err.splitlines() if line.strip()] or ["nothing on standard error"]
    flush_left = [line for line in lines if not line[0].isspace()]
    return (flush_left or lines)[-1] if any(line.startswith("Traceback") for line in lines) else lines[0]


def _watch(pid: int, peaks: dict[str, int]) -> None:
    """Look again and again until the process is gone."""
    while _look(pid, peaks):
        time.sleep(_LOOK_EVERY_S)


def _look(pid: int, peaks: dict[str, int]) -> bool:
    """Note the highest resident memory in KiB of each program that runs under `pid`; False: it is gone."""
    own = _peak(pid)
    children = [_peak(child) for child in _descendants(pid)]
    for program, peak in filter(None, [own, *children]):
        peaks[program] = max(peaks.get(program, 0), peak)
    return own is not None


def _peak(pid: int) -> tuple[str, int] | None:
    """The program and its VmHWM, proc(5); None for a process that is gone or about to go."""
    try:
        program = os.readlink(f"/proc/{pid}/exe")
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    found = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return (program, found[0]) if found else None


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    for task in _entries(f"/proc/{pid}/task"):
        try:
            children = [int(child) for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split()]
        except OSError:
            continue
        found += [*children, *(deeper for child in children for deeper in _descendants(child))]
    return found


def _entries(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []

"""Methods of adaptation and weighting on features in memory: ours beside skada and POT, in one run.

Features can't be handed to the public API; this calls the room `transfer_core.kinds`. Each measurement is a
process of its own, ours and the peer's in turn; the time is the CPU time of the call on all cores, without
imports, so that other work on the machine counts less.
"""

from __future__ import annotations

import importlib
import multiprocessing
import resource
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from benchmarks.part import Measured, Options
from benchmarks.table import Section, Table, Target, seconds

ROWS, MANY, WIDTH, CLASSES = 4000, 50_000, 1280, 10
# Seconds after which a peer is stopped.
LONGEST = 240.0
# The method of `kinds`, the most seconds that it may take, and the peer's class.
METHODS: dict[str, tuple[float, str]] = {
    "coral": (1, "skada.CORALAdapter"),
    "subspace": (1, "skada.SubspaceAlignmentAdapter"),
    "discriminator": (1, "skada.DiscriminatorReweightAdapter"),
    "kmm": (5, "skada.KMMReweightAdapter"),
    "kliep": (5, "skada.KLIEPReweightAdapter"),
    "ulsif": (5, ""),
    "tca": (5, "skada.TransferComponentAnalysisAdapter"),
    "mmd": (5, ""),
    "optimal_transport": (20, "ot.da.SinkhornL1l2Transport"),
    "mixture": (20, ""),
    "class_confusion": (20, ""),
    "propagation": (20, ""),
}
NAMES = {"class_confusion": "minimum_class_confusion"}
OF_CLASSES = ("mixture", "class_confusion", "propagation", "optimal_transport")


def domains(rows: int, seed: int = 0) -> tuple[Any, Any, Any]:
    """Features of both domains, with a decaying spectrum as embeddings have, and the source's classes."""
    rng = np.random.default_rng(seed)
    spectrum = np.logspace(0, -1.5, WIDTH, dtype=np.float32)
    classes = rng.integers(CLASSES, size=rows)
    centres = 0.2 * rng.standard_normal((CLASSES, WIDTH), np.float32)
    source, target = (rng.standard_normal((rows, WIDTH), np.float32) * spectrum for _ in range(2))
    shift = 0.1 * rng.standard_normal(WIDTH, np.float32)
    return np.maximum(source + centres[classes] + 0.3, 0), classes, np.maximum(target + shift + 0.3, 0)


def ours(name: str, rows: int) -> None:
    """Import the method, and time it."""
    method = getattr(importlib.import_module(f"transfer_core.kinds.{name}"), NAMES.get(name, name))
    source, classes, target = domains(rows)
    if name == "optimal_transport":
        return _timed(lambda: method(source, target, classes))
    if name in OF_CLASSES:
        return _timed(lambda: method(source, classes, target, CLASSES))
    return _timed(lambda: method(source, target))


def peer(path: str, rows: int) -> None:
    """Import the peer's class, and time its fit, and the mapping of the source if it has one."""
    module, name = path.rsplit(".", 1)
    made = getattr(importlib.import_module(module), name)(
        **({"n_components": 80} if "Component" in name or "Subspace" in name else {})
    )
    source, classes, target = domains(rows)
    if module == "ot.da":
        made.reg_e = 1.0
        return _timed(lambda: made.fit_transform(Xs=source, ys=classes, Xt=target))
    both = np.concatenate([source, target])
    of = np.repeat([1, -2], [len(source), len(target)])
    return _timed(lambda: made.fit_transform(both, sample_domain=of))


def _timed(call: Callable[[], Any]) -> Any:
    started = time.process_time()
    call()
    took = time.process_time() - started
    return took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _in_process(work: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(writer, work, arguments))
    process.start()
    writer.close()
    try:
        found = reader.recv() if reader.poll(LONGEST) else {"problem": f"more than {LONGEST:.0f} s"}
    except EOFError:
        found = {"problem": "killed"}
    process.terminate()
    process.join()
    return found


def _work(writer: Any, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        took, peak = work(*arguments)
        writer.send({"seconds": took, "peak_mb": peak})
    except Exception as error:  # a peer's
        writer.send({"problem": f"{type(error).__name__}: {error}"[:80]})


def measure(options: Options) -> Measured:
    """Ours and the peer in turn; ours once more on 50,000 rows."""
    rows, many = options.count(ROWS, 200), options.count(MANY, 400)
    found: dict[str, Any] = {}
    for name, (_, path) in METHODS.items():
        runs: dict[str, list[Any]] = {"ours": [], "peer": [], "many": []}
        for _ in range(options.slow_runs):
            runs["ours"].append(_in_process(ours, name, rows))
            if path:
                runs["peer"].append(_in_process(peer, path, rows))
        runs["many"].append(_in_process(ours, name, many))
        found[name] = runs
        options.say(f"{name}: {runs}")
    return {"rows": rows, "many": many, "methods": found}


def report(measured: Measured) -> Section:
    """Times, ratios and peak memory, and the targets."""
    rows, targets = [], []
    for name, runs in measured["methods"].items():
        limit, path = METHODS[name]
        own = _median(runs["ours"])
        other = _median(runs["peer"])
        shown = (
            seconds(other) if other is not None else (runs["peer"][0]["problem"] if runs["peer"] else "none")
        )
        ratio = other / own if own is not None and other is not None else None
        peak = max((run.get("peak_mb", 0) for run in runs["many"]), default=0)
        rows.append(
            (
                name,
                seconds(own) if own is not None else runs["ours"][0]["problem"],
                f"{path} {shown}".strip(),
                f"{ratio:.1f} ×" if ratio else "",
                f"{peak:.0f} MB" if peak else runs["many"][0].get("problem", ""),
            )
        )
        targets.append(Target(f"{name}, seconds", own, limit, at_least=False, unit="s"))
        if ratio:
            targets.append(Target(f"{name}, peer's time over ours", ratio, 1.0))
    columns = ("", "ours", "peer", "peer / ours", f"peak memory on {measured['many']:,} rows")
    return Section(
        title="Adaptation and weights",
        text=(f"{measured['rows']:,} rows of {WIDTH:,} features in each domain.",),
        tables=(Table(columns, tuple(rows)),),
        targets=tuple(targets),
    )


def _median(runs: list[Any]) -> float | None:
    good = [run["seconds"] for run in runs if "seconds" in run]
    return median(good) if good else None


if __name__ == "__main__":
    from benchmarks.table import section

    print(section(report(measure(Options()))))

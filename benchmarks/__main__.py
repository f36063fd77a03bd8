"""Measures ours beside the peers and writes benchmarks/RESULTS.md.

Run it on a machine that does nothing else.

  python -m benchmarks                  everything, about half an hour
  python -m benchmarks main_job bridge  these parts; RESULTS.md keeps what is known of the others
  python -m benchmarks --quick          a few minutes: does everything work? Changes no results
  python -m benchmarks --render         RESULTS.md anew from what was measured
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import cast

from benchmarks import results
from benchmarks.environment import OURS, MissingError, set_up_peers
from benchmarks.part import Options, Part
from benchmarks.table import section

# In the order of RESULTS.md.
NAMES = (
    "main_job",
    "large_photos",
    "second_run",
    "growth",
    "last_k",
    "fine_tune",
    "backbones",
    "head",
    "bridge",
    "choosing",
    "gpu",
    "search",
)
# Without peers, which need not be installed for it.
OF_OURS_ALONE = {"gpu"}


def main(arguments: Sequence[str]) -> int:
    """Returns the exit status: 0 if every part could be measured, whatever came of its targets."""
    said = _parser().parse_args(arguments)
    try:
        if said.setup:
            return _setup()
        parts = {name: cast(Part, import_module(f"benchmarks.{name}")) for name in NAMES}
        if said.list:
            print("\n".join(f"{name:<13} {_about(part)}" for name, part in parts.items()))
            return 0
        if said.render:
            return _render(parts)
        if set(said.parts or NAMES) - OF_OURS_ALONE:
            set_up_peers()
        failed = _measure({name: parts[name] for name in NAMES if name in (said.parts or NAMES)}, said)
    except MissingError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    return 1 if failed else 0 if said.quick else _render(parts)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "parts", nargs="*", choices=[*NAMES, []], metavar="PART", help="measure only these (see --list)"
    )
    parser.add_argument("--list", action="store_true", help="the parts and what each measures")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="of what takes seconds (3)")
    parser.add_argument("--slow-runs", type=int, default=1, metavar="N", help="of what takes minutes (1)")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0], metavar="N", help="splits of the main job (0)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="tiny, to see that all of it works; RESULTS.md stays"
    )
    parser.add_argument(
        "--setup", action="store_true", help="install the peers into benchmarks/.venv anew, and stop"
    )
    parser.add_argument(
        "--render", action="store_true", help="write RESULTS.md from what was measured, and stop"
    )
    return parser


def _measure(parts: dict[str, Part], said: argparse.Namespace) -> list[str]:
    """Returns the parts that could not be measured; a part that fails does not stop the others."""
    failed = []
    for number, (name, part) in enumerate(parts.items(), 1):
        started = time.monotonic()
        print(f"[{number} of {len(parts)}] {name}: {_about(part)}", flush=True)
        options = Options(
            runs=1 if said.quick else said.runs,
            slow_runs=1 if said.quick else said.slow_runs,
            seeds=tuple(said.seeds),
            quick=said.quick,
            say=_saying(started),
        )
        try:
            measured = part.measure(options)
            print(f"\n{section(part.report(measured))}", flush=True)
        except Exception as error:
            print(f"  failed: {type(error).__name__}: {error}", file=sys.stderr)
            failed.append(name)
            continue
        results.keep(name, measured, said.quick)
    if failed:
        print(f"not measured: {', '.join(failed)}", file=sys.stderr)
    return failed


def _saying(started: float) -> Callable[[str], None]:
    """Prints a line of progress with the seconds since `started`."""
    return lambda line: print(f"  {time.monotonic() - started:5.0f} s  {line}", flush=True)


def _render(parts: dict[str, Part]) -> int:
    found = results.kept(list(parts))
    if not found:
        raise MissingError("nothing was measured yet; run python -m benchmarks")
    results.PAGE.write_text(results.page(found, parts))
    print(f"written: {results.PAGE}")
    return 0


def _setup() -> int:
    problems = set_up_peers(again=True)
    for requirement, problem in problems.items():
        print(f"{requirement} can't be installed: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _about(part: Part) -> str:
    return (part.__doc__ or "").splitlines()[0]


def _in_the_project() -> bool:
    """Whether this interpreter is the one of the checkout's .venv."""
    return os.path.realpath(sys.prefix) == os.path.realpath(OURS.parents[1])


if __name__ == "__main__":
    if not _in_the_project():
        if not OURS.is_file():
            sys.exit(f"benchmarks: no {OURS}; bin/setup makes it")
        os.execv(OURS, [str(OURS), "-m", "benchmarks", *sys.argv[1:]])
    sys.exit(main(sys.argv[1:]))

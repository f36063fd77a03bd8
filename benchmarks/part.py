"""What every part of the benchmarks is: it measures, and what it measured can be shown at any later time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from benchmarks.table import Section

Measured = dict[str, Any]


@dataclass(frozen=True)
class Options:
    """How much is measured.

    `runs` repetitions of what takes seconds (what takes minutes runs `slow_runs` times); `seeds` of the
    split; `quick` makes everything so small that only its working is shown; `say` prints a line of progress.
    """

    runs: int = 3
    slow_runs: int = 1
    seeds: tuple[int, ...] = (0,)
    quick: bool = False
    say: Callable[[str], None] = print

    def count(self, full: int, quick: int) -> int:
        """A number of photos, rows or epochs: `full`, or in a quick run `quick`."""
        return quick if self.quick else full


class Part(Protocol):
    """A module of this package. The first line of its docstring says what it measures."""

    __doc__: str | None

    def measure(self, options: Options) -> Measured:
        """Run everything; plain JSON data."""

    def report(self, measured: Measured) -> Section:
        """What `measure` found, as tables and targets; computes, measures nothing."""

"""Parts that the pilots of all representations share: fewer examples and epochs, and a stopwatch."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec
import numpy as np

from transfer_core.data import Dataset, DataSplits
from transfer_core.pipeline.artifacts import Chosen
from transfer_core.plan.phases import Phase
from transfer_core.runtime.overall_progress import ExpectedPhase
from transfer_core.runtime.progress import Event, Progress, Step

# Epochs of a phase in a pilot; the first one has the cost of a start, the second one is measured.
EPOCHS = 2
# Copies of the weights in a checkpoint with its optimizer.
CHECKPOINT = 3
# Bytes of a cached row beside its numbers.
ROW = 200


@dataclass(frozen=True)
class StepEstimate:
    """One step: `seconds`, peak `memory` of the process in bytes, and bytes on `disk` that it adds."""

    step: Step
    seconds: float
    memory: int
    disk: int


@dataclass(frozen=True)
class Lap:
    """Seconds of a step of a pilot, and the peak memory of the process in bytes."""

    seconds: float
    memory: int


@dataclass(frozen=True)
class PhaseTimes:
    """When a phase of a pilot began, and when each of its epochs ended."""

    step: Step
    times: list[float] = field(default_factory=list)

    @property
    def epoch(self) -> float:
        """Seconds of the second epoch."""
        return self.times[2] - self.times[1]

    @property
    def start(self) -> float:
        """Seconds of the first epoch, and of the work before it, beyond those of the second."""
        return max(0.0, self.times[1] - self.times[0] - self.epoch)

    def seconds(
        self, full: ExpectedPhase, pilot: ExpectedPhase, inputs: tuple[int, int], rate: float
    ) -> float:
        """Extrapolate to a phase of the whole training.

        Parameters
        ----------
        full, pilot
            The expected work of the phase in the training and in the pilot.
        inputs
            Numbers of inputs that the frozen part computes once, in the training and in the pilot.
        rate
            Most seconds of one of them; the rest of the start is fixed.
        """
        once = min(rate, self.start / inputs[1]) if inputs[1] else 0.0
        fixed = self.start - once * inputs[1]
        return fixed + once * inputs[0] + EPOCHS * self.epoch * full.work / pilot.work


class Stopwatch:
    """Time and peak memory of each step of a pilot, and the times of epochs."""

    def __init__(self) -> None:
        self._began = monotonic()
        self._phases: list[PhaseTimes] = []
        _reset_peak()

    def lap(self) -> Lap:
        """The time and peak memory since the last lap."""
        now = monotonic()
        lap = Lap(now - self._began, peak_memory())
        self._began = now
        _reset_peak()
        return lap

    def watching(self, quiet: Progress) -> Progress:
        """A progress that notes when phases begin and epochs end."""

        def emit(event: Event) -> None:
            if event["event"] == "stage":
                self._phases.append(PhaseTimes(event["step"], [monotonic()]))
            elif event["event"] == "epoch":
                self._phases[-1].times.append(monotonic())

        return replace(quiet, emit=emit)

    def phases(self, *steps: Step) -> list[PhaseTimes]:
        """The phases of these steps that had all epochs of a pilot."""
        return [one for one in self._phases if one.step in steps and len(one.times) > EPOCHS]


def expected(
    work: Callable[[Chosen], list[ExpectedPhase]], chosen: Chosen, pilot: Chosen, *steps: Step
) -> list[tuple[ExpectedPhase, ExpectedPhase]]:
    """The phases of these steps in the whole training and in its pilot; `work` is of the representation."""
    full, few = ([phase for phase in work(one) if phase.step in steps] for one in (chosen, pilot))
    return list(zip(full, few, strict=True))


def seconds_of(work: Callable[[], Any]) -> float:
    """The time that `work` takes."""
    began = monotonic()
    work()
    return monotonic() - began


def fewer(
    chosen: Chosen, sizes: Sequence[int], key: Callable[[Any], Hashable], phases: Sequence[Phase]
) -> Chosen:
    """The same training with `phases`, and at most `sizes` examples of each part.

    Parameters
    ----------
    chosen
        The whole training.
    sizes
        Of training, validation and test examples.
    key
        Maps a target to its stratum: strata take turns.
    phases
        Those of `chosen`, shortened.
    """
    splits, recipe = chosen.splits, chosen.plan.recipe
    parts = splits.train, splits.valid, splits.test
    train, valid, test = (
        spread(part, size, recipe.seed, key) for part, size in zip(parts, sizes, strict=True)
    )
    # Near-duplicates are searched among all images, which a pilot must not decode.
    split = msgspec.structs.replace(recipe.split, near_duplicates=False)
    recipe = msgspec.structs.replace(recipe, split=split)
    plan = replace(chosen.plan, phases=tuple(phases), recipe=recipe)
    domains = splits.domains
    if domains:
        unlabelled = spread(domains.unlabelled, sizes[0], recipe.seed, key)
        of_source = (part.take(np.flatnonzero(part.from_source)) for part in (train, valid))
        domains = replace(domains, unlabelled=unlabelled, train=next(of_source), valid=next(of_source))
    some = replace(splits, train=train, valid=valid, test=test, pool=None, domains=domains)
    return replace(chosen, plan=plan, splits=some)


def shortened(phase: Phase) -> Phase:
    """A phase of few epochs."""
    return replace(phase, train=msgspec.structs.replace(phase.train, epochs=EPOCHS, early_stopping=0))


def in_proportion(splits: DataSplits, most: int) -> tuple[int, int, int]:
    """At most `most` training examples, and as large a share of the others, at least 2."""
    share = min(1.0, most / len(splits.train))
    valid, test = (max(2, round(share * len(part))) for part in (splits.valid, splits.test))
    return most, valid, test


def spread(data: Dataset, most: int, seed: int, key: Callable[[Any], Hashable]) -> Dataset:
    """At most `most` examples, with each stratum in turn, and both domains in their shares."""
    if len(data) <= most:
        return data
    order = np.random.default_rng(seed).permutation(len(data))
    rows: list[int] = []
    for domain in (True, False):
        own = order[data.from_source[order] == domain]
        quota = max(min(2, len(own)), round(most * len(own) / len(data)))
        seen: dict[Hashable, int] = {}
        turns = []
        for row in own.tolist():
            stratum = key(data.targets[row])
            turns.append(seen.setdefault(stratum, 0))
            seen[stratum] += 1
        rows += own[np.argsort(turns, kind="stable")[:quota]].tolist()
    return data.take(rows)


def peak_memory() -> int:
    """Peak resident memory of this process since the last lap, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def _reset_peak() -> None:
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")

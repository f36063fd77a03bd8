"""Fine-tuning the last three blocks: an epoch from activations kept at the boundary, and one without.

There is no switch for it, and none is needed: where every epoch sees new random views, nothing can be kept. A
flip with probability 0 is such an augmentation, and leaves the pixels as they are.
"""

from __future__ import annotations

from itertools import pairwise
from statistics import median
from typing import Any

from benchmarks import photos, training
from benchmarks.environment import peer
from benchmarks.part import Measured, Options
from benchmarks.process import alternate, fresh
from benchmarks.table import Section, Table, Target, percent, times

KEPT, WITHOUT, TUTORIAL = "ours, boundary kept", "ours, nothing kept", "tutorial loop"
NO_CHANGE = {"type": "flip", "probability": 0.0}


def measure(options: Options) -> Measured:
    """The same steps with and without, in turn; the tutorial's loop with the same blocks."""
    folder = photos.split(0, 60 if options.quick else None)
    epochs = options.count(5, 2)
    thawed = {
        "data": training.folders(folder),
        "steps": [
            {"type": "freeze"},
            {"type": "train"},
            {"type": "unfreeze", "last": 3},
            {"type": "train", "epochs": epochs, "early_stopping": 0},
        ],
    }
    loop = peer("tutorial_loop.py", folder, "--epochs", str(options.count(3, 2)), "--trains", "last-3")
    commands = {
        KEPT: training.command(thawed),
        WITHOUT: training.command({**thawed, "augment": [NO_CHANGE]}),
        TUTORIAL: fresh(loop),
    }
    runs = {KEPT: options.runs, WITHOUT: options.runs, TUTORIAL: options.slow_runs}
    found = alternate(commands, runs, options.say)
    return {
        "epochs": epochs,
        "photos": {part: len(list(folder.glob(f"{part}/*/*"))) for part in ("train", "test")},
        "runs": {name: [run.plain() for run in some] for name, some in found.items()},
    }


def report(measured: Measured) -> Section:
    """Seconds of an epoch, the first one apart: it fills what the others use."""
    told = {name: _told(measured, name) for name in (KEPT, WITHOUT)}
    epoch = {
        name: _median(s for t in some for s in training.epoch_s(t, "fine_tune"))
        for name, some in told.items()
    }
    first = {
        name: _median(training.first_epoch_s(t, "fine_tune") for t in some) for name, some in told.items()
    }
    rows = [
        (name, _s(epoch[name]), _s(first[name]), percent(some[0]["accuracy"]) if some else "")
        for name, some in told.items()
    ]
    loop = [run["said"] for run in measured["runs"][TUTORIAL] if not run["problem"]]
    theirs = _median(s for said in loop for s in loop_epoch_s(said))
    rows.append((TUTORIAL, _s(theirs), "", percent(loop[0]["accuracy"]) if loop else ""))
    without, kept = epoch[WITHOUT], epoch[KEPT]
    ratio = without / kept if without and kept else None
    total = _whole(told[WITHOUT]) / _whole(told[KEPT]) if all(told.values()) else None
    return Section(
        title="The last three blocks",
        text=(
            f"{measured['epochs']} epochs. An epoch of ours trains on 85 % of the "
            f"{measured['photos']['train']} training photos and validates on the others; the loop trains on "
            f"all and validates on the {measured['photos']['test']} test photos. All of the step without "
            f"over all of it with, keeping included: {times(total) or 'not measured'}.",
        ),
        tables=(Table(("", "epoch", "until the first has ended", "accuracy"), tuple(rows)),),
        targets=(Target("an epoch with the boundary kept: faster than without", ratio, 3),),
    )


def loop_epoch_s(said: Any) -> list[float]:
    """Seconds of each epoch of a peer that tells when they ended."""
    ends = [said["started"], *(epoch["at"] for epoch in said["epochs"])]
    return [after - before for before, after in pairwise(ends)]


def _told(measured: Measured, name: str) -> list[Any]:
    return [t for run in measured["runs"][name] if not run["problem"] for t in training.trainings(run)]


def _whole(told: list[Any]) -> float:
    return float(median(training.stage_s(t)["fine_tune"] for t in told))


def _median(values: Any) -> float | None:
    found = list(values)
    return float(median(found)) if found else None


def _s(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} s"

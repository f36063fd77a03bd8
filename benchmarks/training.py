"""Ours as a measured process: recipes in, and when each stage and epoch of each training was."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.environment import HERE, ruby
from benchmarks.process import Command, fresh

Recipe = Mapping[str, Any]
Plain = Mapping[str, Any]

STAGES = ("choose", "freeze", "head", "train", "fine_tune", "evaluate")


def command(*recipes: Recipe) -> Command:
    """Train `recipes` one after another in one Ruby process, with a home of their own: the first is cold."""
    return fresh(
        ruby(HERE / "peers" / "ours.rb", json.dumps([{"backbone": "mobilenet_v2", **r} for r in recipes]))
    )


def folders(split: Path) -> dict[str, str]:
    """`data` for a folder with `train/` and `test/`."""
    return {"train": str(split / "train"), "test": str(split / "test")}


def trainings(run: Plain) -> Sequence[Plain]:
    """What the process said of each training; none if it failed."""
    found: Sequence[Plain] = run["said"].get("trainings", [])
    return found


def train_s(training: Plain) -> float:
    """From the first stage to the model: without the start of any process."""
    return float(training["ended"] - training["stages"][0]["at"])


def stage_s(training: Plain) -> dict[str, float]:
    """Seconds of each stage; one that comes several times is added up."""
    stages = training["stages"]
    ends = [stage["at"] for stage in stages[1:]] + [training["ended"]]
    found: dict[str, float] = {}
    for stage, end in zip(stages, ends, strict=True):
        found[stage["step"]] = found.get(stage["step"], 0.0) + end - stage["at"]
    return found


def epoch_s(training: Plain, step: str) -> list[float]:
    """Seconds of each epoch of `step` but the first, whose beginning is not told."""
    ends = [epoch["at"] for epoch in training["epochs"] if epoch["step"] == step]
    return [after - before for before, after in pairwise(ends)]


def first_epoch_s(training: Plain, step: str) -> float:
    """Seconds from the beginning of the stage to the end of its first epoch."""
    began = next(stage["at"] for stage in training["stages"] if stage["step"] == step)
    ended = next(epoch["at"] for epoch in training["epochs"] if epoch["step"] == step)
    return float(ended - began)


def images_per_s(training: Plain) -> float | None:
    """How fast images were embedded once it ran: between the first and the last word about it."""
    if len(training["embedded"]) < 2:
        return None
    first, last = training["embedded"]
    return (
        float((last["done"] - first["done"]) / (last["at"] - first["at"]))
        if last["at"] > first["at"]
        else None
    )

"""Estimate time, memory and disk space of a training by a pilot: its own steps on a few of its examples.

The rates of forward passes and generated texts, the fit of the head and the second of two epochs of every
phase are measured on this machine, and scaled to all examples and epochs. Cached embeddings and feature maps
take no time. The pilot of each representation is beside its steps.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from transfer_core.backbones.frozen import open_backbone
from transfer_core.data import Row
from transfer_core.pipeline.artifacts import Chosen
from transfer_core.pipeline.five_steps import choose
from transfer_core.pipeline.pilot import StepEstimate, Stopwatch, peak_memory
from transfer_core.pipeline.steps import pilot_for
from transfer_core.recipe.schema import Recipe
from transfer_core.runtime import paths
from transfer_core.runtime.errors import Problem, RecipeError
from transfer_core.runtime.machine_memory import machine_memory
from transfer_core.runtime.progress import Progress
from transfer_core.runtime.temp_dir import spool_folder


@dataclass(frozen=True)
class Estimate:
    """What a training is expected to take on this machine.

    Attributes
    ----------
    backbone, task
        Names.
    examples
        Number of all examples.
    steps
        Choose, freeze, head, train, fine_tune and evaluate; 0 seconds for a step without work.
    seconds
        Sum over the steps, with all epochs; early stopping may shorten it.
    memory, disk
        Peak memory of the process, and disk space that is kept or used meanwhile, in bytes.
    available_memory, free_disk
        What this machine has, in bytes.
    warnings
        If memory or disk space do not suffice.
    """

    backbone: str
    task: str
    examples: int
    steps: tuple[StepEstimate, ...]
    seconds: float
    memory: int
    disk: int
    available_memory: int
    free_disk: int
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain data."""
        return asdict(self)


def estimate(recipe: Recipe, streams: Mapping[str, Iterable[Row]], progress: Progress) -> Estimate:
    """Estimate the training of `recipe` by a pilot of seconds.

    Parameters
    ----------
    recipe
        Any recipe that names a backbone.
    streams
        Name to the rows of each stream of the recipe.
    progress
        Progress events and cancellation.

    Raises
    ------
    RecipeError
        At `backbone`, for a search, whose time is its budget.
    TransferError
        As a training does for errors of the recipe, the data or the weights.
    """
    if recipe.backbone == "auto":
        message = "auto takes its budget. Fix: name a backbone to estimate"
        raise RecipeError([Problem("backbone", message)])
    with spool_folder() as spool, TemporaryDirectory(dir=spool) as folder:
        # What is done once per machine, such as a download, is no part of the training that follows.
        open_backbone(recipe.backbone, recipe.weights, progress, recipe.trust)
        watch = Stopwatch()
        chosen = choose(recipe, streams, spool, progress)
        choosing = watch.lap()
        steps = pilot_for(chosen.plan.task).measure(chosen, Path(folder), watch, progress)
    return _summed(chosen, (StepEstimate("choose", choosing.seconds, choosing.memory, 0), *steps))


def _summed(chosen: Chosen, steps: tuple[StepEstimate, ...]) -> Estimate:
    splits = chosen.splits
    memory, disk = max(step.memory for step in steps), sum(step.disk for step in steps)
    available = machine_memory()[1] + peak_memory()
    free = shutil.disk_usage(paths.cache() if paths.cache().exists() else Path.home()).free
    warnings = []
    if memory > available:
        warnings.append(
            f"the training needs about {_gigabytes(memory)} of memory, and {_gigabytes(available)} are "
            "available. Fix: a smaller batch_size or backbone, fewer blocks to unfreeze, or another machine"
        )
    if disk > free:
        warnings.append(
            f"the training needs about {_gigabytes(disk)} of disk space, and {_gigabytes(free)} are free. "
            "Fix: `transfer cache prune`, or TRANSFER_HOME on another disk"
        )
    return Estimate(
        backbone=chosen.plan.recipe.backbone,
        task=chosen.plan.task.name,
        examples=sum(map(len, (splits.train, splits.valid, splits.test))),
        steps=steps,
        seconds=sum(step.seconds for step in steps),
        memory=memory,
        disk=disk,
        available_memory=available,
        free_disk=free,
        warnings=tuple(warnings),
    )


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"

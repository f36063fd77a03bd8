"""From 500 to 8,000 photos: time per photo and peak memory must not grow."""

from __future__ import annotations

from statistics import median
from typing import Any

from benchmarks import photos, training
from benchmarks.part import Measured, Options
from benchmarks.process import alternate
from benchmarks.table import Section, Table, Target

SIZES = (500, 1000, 2000, 4000, 8000)
QUICK_SIZES = (50, 100, 200)
START = 26  # photos of the training that shows what everything else costs: two of each class


def measure(options: Options) -> Measured:
    """A cold training of each size in turn, and a tiny one."""
    sizes = QUICK_SIZES if options.quick else SIZES
    data = {size: str(photos.grown(size, of=sizes[-1])) for size in (START, *sizes)}
    commands = {f"{size:,} photos": training.command({"data": manifest}) for size, manifest in data.items()}
    runs = {name: options.runs if i == 0 else max(1, options.runs - 1) for i, name in enumerate(commands)}
    found = alternate(commands, runs, options.say)
    by_size = zip(data, found.values(), strict=True)
    return {"start": START, "runs": {str(size): [run.plain() for run in some] for size, some in by_size}}


def report(measured: Measured) -> Section:
    """Time per photo is what a photo adds to the tiny training; memory is the process's peak."""
    runs = {int(size): [run for run in some if not run["problem"]] for size, some in measured["runs"].items()}
    start = measured["start"]
    walls = {size: median(run["wall_s"] for run in some) for size, some in runs.items() if some}
    peaks = {size: median(run["peak_mb"] for run in some) for size, some in runs.items() if some}
    sizes = [size for size in walls if size != start]
    per_photo = {
        size: (walls[size] - walls[start]) / (size - start) * 1000 for size in sizes if start in walls
    }
    rows = [
        (
            f"{size:,}",
            f"{walls[size]:.2f} s",
            f"{per_photo[size]:.2f} ms" if size in per_photo else "",
            f"{_embedding_ms(runs[size], size):.2f} ms",
            f"{peaks[size]:.0f} MB",
        )
        for size in walls
    ]
    return Section(
        title="Growth",
        text=(
            f"Cold, whole processes. Time per photo is what a photo adds to a training of {start} photos; "
            "beside it the stage that decodes and embeds, divided by all photos.",
        ),
        tables=(
            Table(
                ("photos", "whole process", "per photo", "embedding, per photo", "peak memory"), tuple(rows)
            ),
        ),
        targets=(
            Target(
                "time per photo, the largest over the smallest, less 1", _spread(per_photo), 0.05, False, "%"
            ),
            Target(
                f"peak memory, growth from {_from(sizes):,} photos", _growth(peaks, sizes), 0.10, False, "%"
            ),
        ),
    )


def _embedding_ms(runs: list[Any], size: int) -> float:
    return median(training.stage_s(training.trainings(run)[0])["freeze"] for run in runs) / size * 1000


def _spread(per_photo: dict[int, float]) -> float | None:
    if len(per_photo) < 2:
        return None
    return max(per_photo.values()) / min(per_photo.values()) - 1


def _from(sizes: list[int]) -> int:
    """1,000 photos where there are, else the second size."""
    return 1000 if 1000 in sizes else sizes[min(1, len(sizes) - 1)] if sizes else 0


def _growth(peaks: dict[int, float], sizes: list[int]) -> float | None:
    return peaks[sizes[-1]] / peaks[_from(sizes)] - 1 if len(sizes) > 1 else None

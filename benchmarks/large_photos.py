"""Photos of 1600 x 1200: images a second, whole processes, ours over the floor."""

from __future__ import annotations

from statistics import median

from benchmarks import photos, training
from benchmarks.main_job import floor, floor_precision
from benchmarks.part import Measured, Options
from benchmarks.process import alternate
from benchmarks.table import Section, Table, Target, percent, seconds

OURS, FLOOR = "transfer-rb, from Ruby", "floor"


def measure(options: Options) -> Measured:
    """Both in turn."""
    count = options.count(2000, 60)
    folder = photos.large(count)
    precision = floor_precision(photos.split(0, 60), options)
    commands = {OURS: training.command({"data": training.folders(folder)}), FLOOR: floor(folder, precision)}
    found = alternate(commands, dict.fromkeys(commands, options.runs), options.say)
    return {"photos": count, "runs": {name: [run.plain() for run in runs] for name, runs in found.items()}}


def report(measured: Measured) -> Section:
    """The ratio is of medians."""
    good = {name: [run for run in runs if not run["problem"]] for name, runs in measured["runs"].items()}
    walls = {name: [run["wall_s"] for run in runs] for name, runs in good.items() if runs}
    rows = []
    for name, some in walls.items():
        told = training.trainings(good[name][0])
        accuracy = told[0]["accuracy"] if told else good[name][0]["said"]["accuracy"]
        speed = f"{measured['photos'] / median(some):.0f} / s"
        rows.append((name, seconds(some), speed, percent(accuracy)))
    ratio = median(walls[FLOOR]) / median(walls[OURS]) if len(walls) == 2 else None
    return Section(
        title="Large photos",
        text=(f"{measured['photos']:,} JPEGs of 1600 × 1200, cold, from exec to exit.",),
        tables=(Table(("", "whole process", "images", "accuracy"), tuple(rows)),),
        targets=(Target("images a second over the floor's", ratio, 0.9),),
    )

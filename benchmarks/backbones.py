"""Five networks, frozen: images a second, ours over eager float32."""

from __future__ import annotations

from statistics import median

from benchmarks import photos, training
from benchmarks.environment import peer
from benchmarks.part import Measured, Options
from benchmarks.process import alternate, fresh
from benchmarks.table import Section, Table, Target, times

SLOW = ("resnet50", "vit_b_16")
# Photos for each, so that none takes long.
COUNTS = {"mobilenet_v3_large": 384, "resnet18": 384, "efficientnet_b0": 256, "resnet50": 160, "vit_b_16": 96}


def measure(options: Options) -> Measured:
    """Random weights, which are as fast as trained ones and need no network."""
    found = {}
    for name, full in COUNTS.items():
        count = options.count(full, 96)
        manifest = photos.grown(count, of=options.count(8000, 200))
        recipe = {"backbone": name, "weights": "random", "data": str(manifest)}
        commands = {
            "ours": training.command(recipe),
            "eager": fresh(peer("eager.py", name, manifest)),
        }
        times_each = options.slow_runs if name in SLOW else max(1, options.runs - 1)
        runs = dict.fromkeys(commands, times_each)
        options.say(name)
        both = alternate(commands, runs, options.say)
        found[name] = {side: [run.plain() for run in some] for side, some in both.items()}
    return {"runs": found}


def report(measured: Measured) -> Section:
    """Images a second once it runs, decoding included; for eager after its first batch."""
    rows, targets = [], []
    for name, both in measured["runs"].items():
        told = [t for run in both["ours"] if not run["problem"] for t in training.trainings(run)]
        ours = [speed for t in told if (speed := training.images_per_s(t))]
        eager = [speed for run in both["eager"] if (speed := run["said"].get("images_per_s"))]
        ratio = median(ours) / median(eager) if ours and eager else None
        rows.append((name, _speed(ours), _speed(eager), times(ratio)))
        targets.append(Target(f"{name}: over eager float32", ratio, 2))
    return Section(
        title="Backbones",
        text=("Images a second with random weights, decoding included, start-up and first batch not.",),
        tables=(Table(("", "ours", "eager float32", "ours is faster"), tuple(rows)),),
        targets=tuple(targets),
    )


def _speed(values: list[float]) -> str:
    return f"{median(values):.1f} / s" if values else "not measured"

"""The second training on the same photos, with another head and with 1 % more photos."""

from __future__ import annotations

from statistics import median
from typing import Any

from benchmarks import photos, training
from benchmarks.part import Measured, Options
from benchmarks.process import alternate
from benchmarks.table import Section, Table, Target, seconds, times

COLD, WEIGHED, MLP, MORE = "cold", "linear head, balanced classes", "mlp head, 128 hidden", "+1 % photos"


def measure(options: Options) -> Measured:
    """Four trainings in one Ruby process, so that start-up is in none of them."""
    count = options.count(2000, 100)
    data = str(photos.grown(count, of=options.count(8000, 200)))
    more = str(photos.grown(count + count // 100, of=options.count(8000, 200)))
    recipes: dict[str, training.Recipe] = {
        COLD: {"data": data},
        WEIGHED: {"data": data, "class_weights": "balanced"},
        MLP: {"data": data, "head": {"type": "mlp", "hidden": [128]}},
        MORE: {"data": more},
    }
    found = alternate({"ours": training.command(*recipes.values())}, {"ours": options.runs}, options.say)
    return {"photos": count, "names": list(recipes), "runs": [run.plain() for run in found["ours"]]}


def report(measured: Measured) -> Section:
    """Each training over the cold one, both from their first stage to the model."""
    told = {name: _of(measured, i) for i, name in enumerate(measured["names"])}
    spent = {name: [training.train_s(t) for t in some] for name, some in told.items()}
    faster = {
        name: median(c / s for c, s in zip(spent[COLD], some, strict=True)) if some else None
        for name, some in spent.items()
    }
    rows = [
        (name, seconds(some), times(faster[name]), _accuracy(told[name]), _head(told[name]))
        for name, some in spent.items()
        if some
    ]
    targets = [Target(f"{name}: faster than cold", faster[name], 20) for name in (WEIGHED, MLP)]
    targets += [
        Target(f"{name}: its fit", _median_head(told[name]), 0.5, False, "s") for name in (WEIGHED, MLP)
    ]
    targets.append(Target("+1 % photos: faster than cold", faster[MORE], 50))
    return Section(
        title="The second run",
        text=(
            f"{measured['photos']:,} photos, four trainings in one process; times don't include its start.",
        ),
        tables=(Table(("training", "time", "faster than cold", "accuracy", "of it the head"), tuple(rows)),),
        targets=tuple(targets),
    )


def _of(measured: Measured, i: int) -> list[Any]:
    return [training.trainings(run)[i] for run in measured["runs"] if not run["problem"]]


def _accuracy(told: list[Any]) -> str:
    return f"{told[0]['accuracy'] * 100:.1f} %"


def _median_head(told: list[Any]) -> float | None:
    return median(training.stage_s(t)["train"] for t in told) if told else None


def _head(told: list[Any]) -> str:
    return f"{_median_head(told):.2f} s"

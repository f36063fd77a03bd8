"""Fine-tuning everything: ours from the fitted head, the tutorial's loop, fastai's `fine_tune`."""

from __future__ import annotations

from statistics import median
from typing import Any

from benchmarks import photos, training
from benchmarks.environment import peer
from benchmarks.last_k import loop_epoch_s
from benchmarks.part import Measured, Options
from benchmarks.process import alternate, fresh
from benchmarks.table import Section, Table, Target, percent, seconds

OURS, TUTORIAL, FASTAI = "ours", "tutorial loop, all layers", "fastai, fine_tune"


def measure(options: Options) -> Measured:
    """Once each, unless more is asked for."""
    folder = photos.split(0, 60 if options.quick else None)
    epochs = options.count(5, 2)
    recipe = {
        "data": training.folders(folder),
        "steps": [
            {"type": "freeze"},
            {"type": "train"},
            {"type": "unfreeze", "all": True},
            {"type": "train", "epochs": epochs, "early_stopping": 0},
        ],
    }
    commands = {
        OURS: training.command(recipe),
        TUTORIAL: fresh(peer("tutorial_loop.py", folder, "--epochs", str(epochs), "--trains", "all")),
        FASTAI: fresh(peer("fastai_learner.py", folder, "fine_tune", str(options.count(4, 1)))),
    }
    found = alternate(commands, dict.fromkeys(commands, options.slow_runs), options.say)
    return {
        "epochs": epochs,
        "photos": {part: len(list(folder.glob(f"{part}/*/*"))) for part in ("train", "test")},
        "runs": {name: [run.plain() for run in some] for name, some in found.items()},
    }


def report(measured: Measured) -> Section:
    """Epochs are compared by the photos that pass in one, to be learned from or to be judged."""
    runs = {name: [run for run in some if not run["problem"]] for name, some in measured["runs"].items()}
    train, test = measured["photos"]["train"], measured["photos"]["test"]
    ours = [
        s for run in runs[OURS] for t in training.trainings(run) for s in training.epoch_s(t, "fine_tune")
    ]
    loop = [s for run in runs[TUTORIAL] for s in loop_epoch_s(run["said"])]
    # fastai's first epoch is a frozen one.
    fastai = [s for run in runs[FASTAI] for s in loop_epoch_s(run["said"])[1:]]
    passing = {OURS: train, TUTORIAL: train + test, FASTAI: train + test}
    per_photo = {
        name: median(epochs) / passing[name] * 1000
        for name, epochs in {OURS: ours, TUTORIAL: loop, FASTAI: fastai}.items()
        if epochs
    }
    rows = []
    for name, some in measured["runs"].items():
        if not runs[name]:
            rows.append((name, f"did not run: {some[-1]['problem']}", "", "", ""))
            continue
        ms = f"{per_photo[name]:.1f} ms" if name in per_photo else ""
        peak = f"{median(run['peak_mb'] for run in runs[name]):.0f} MB"
        rows.append(
            (name, seconds([run["wall_s"] for run in runs[name]]), ms, peak, percent(_accuracy(runs[name])))
        )
    both = per_photo if {OURS, TUTORIAL} <= per_photo.keys() else None
    theirs = _accuracy(runs[TUTORIAL])
    return Section(
        title="Fine-tuning everything",
        text=(
            f"{measured['epochs']} epochs, fastai one frozen and four of everything. In an epoch of ours "
            f"{train} photos pass (85 % to learn from), in one of the others {train + test} ({train} to "
            "learn from).",
        ),
        tables=(Table(("", "whole process", "epoch, per photo", "peak memory", "accuracy"), tuple(rows)),),
        targets=(
            Target(
                "an epoch's photo: faster than the tutorial's",
                both[TUTORIAL] / both[OURS] if both else None,
                1.5,
            ),
            Target("accuracy at least the tutorial's", _accuracy(runs[OURS]), theirs or 0.0, unit="%"),
        ),
    )


def _accuracy(runs: list[Any]) -> float | None:
    found = [_of(run) for run in runs]
    return median(found) if found else None


def _of(run: Any) -> float:
    told = training.trainings(run)
    return float(told[0]["accuracy"] if told else run["said"]["accuracy"])

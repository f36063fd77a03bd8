"""Distillation into a student with ten labels per class: `python -m benchmarks.distillation`.

Photos of the quickstart, and handwritten digits of UCI as pictures. Per seed 40 % are measured on; of the
rest ten per class are labelled for the student, the others are unlabelled. The student is a linear head on a
frozen MobileNetV2. Teachers, linear heads on a frozen EfficientNet-Lite0: one of the same labels, given as a
backbone, and a saved model of all labels of the rest. Prints test accuracies as mean and standard deviation
over seeds, and the paired difference from the student alone.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

import transfer_core
from benchmarks import photos
from benchmarks.domains import digits

STUDENT, TEACHER = "mobilenet_v2", "timm/tf_efficientnet_lite0.ml_illustrated"
SETS = ("photos", "digits")
LABELLED = 10


def examples(name: str, folder: Path, seed: int) -> list[tuple[str, str]]:
    """Path and label of each picture."""
    if name == "photos":
        return [(str(path), path.parent.name) for path in photos.quickstart()]
    found = []
    for number, (label, image) in enumerate(digits("uci", seed)):
        path = folder / f"{number}.png"
        image.save(path)
        found.append((str(path), label))
    return found


def manifests(name: str, folder: Path, seed: int, labelled: int = LABELLED) -> dict[str, str]:
    """`few`, `rest` (unlabelled), `pool` (both, labelled) and `test`."""
    found = examples(name, folder, seed)
    order = np.random.default_rng(seed).permutation(len(found))
    middle = int(0.4 * len(found))
    parts: dict[str, list[Any]] = {
        "test": [found[i] for i in order[:middle]],
        "few": [],
        "rest": [],
        "pool": [],
    }
    counts: dict[str, int] = defaultdict(int)
    for i in order[middle:]:
        path, label = found[i]
        counts[label] += 1
        parts["pool"].append((path, label))
        if counts[label] <= labelled:
            parts["few"].append((path, label))
        else:
            parts["rest"].append((path,))
    for part, rows in parts.items():
        with (folder / f"{part}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("path", "label")[: len(rows[0])], *rows])
    return {part: str(folder / f"{part}.csv") for part in parts}


def measure(name: str, seed: int) -> dict[str, float]:
    """Test accuracies."""
    with tempfile.TemporaryDirectory() as directory:
        files = manifests(name, Path(directory), seed)
        words: dict[str, Any] = {"seed": seed, "split": {"near_duplicates": False}, "task": "classification"}
        few = {"train": files["few"], "test": files["test"]}
        pool = {"train": files["pool"], "test": files["test"]}
        teacher = transfer_core.train(backbone=TEACHER, data=pool, **words)
        found = {"teacher of all labels": teacher.metrics["accuracy"]}

        def student(title: str, **more: Any) -> None:
            model = transfer_core.train(backbone=STUDENT, data=few, **words, **more)
            found[title] = model.metrics["accuracy"]

        saved = {"from": str(teacher.path), "strength": 0.9}
        student("student alone")
        student("teacher of the same labels", distill={"from": TEACHER, "strength": 0.9})
        student("teacher of all labels, labelled inputs", distill=saved)
        student("teacher of all labels, unlabelled inputs too", distill=saved, unlabelled=files["rest"])
        return found


def main() -> None:
    """Measure the sets on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("sets", nargs="*", default=SETS)
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    for name in given.sets:
        found = defaultdict(list)
        for seed in range(given.seeds):
            for title, accuracy in measure(name, seed).items():
                found[title].append(accuracy)
            print(name, seed, {title: round(values[-1], 3) for title, values in found.items()}, flush=True)
        print(f"| {name} | accuracy | beside the student alone |\n|---|---|---|")
        for title, values in found.items():
            gains = [one - alone for one, alone in zip(values, found["student alone"], strict=True)]
            mean, spread = statistics.mean(values), statistics.pstdev(values)
            span = f"{min(gains):+.3f} to {max(gains):+.3f}"
            print(f"| {title} | {mean:.3f} ± {spread:.3f} | {statistics.mean(gains):+.3f} ({span}) |")


if __name__ == "__main__":
    main()

"""Multi-label classification of sheets with one to three pictures, compared with scikit-learn: one logistic
regression per label on the same embeddings and split.

    python examples/multi_label.py                  # 400 sheets of scikit-learn's digits
    python examples/multi_label.py 600 PHOTOS       # of a class folder, such as that of examples/stamps.py

No picture is on both a training and a test sheet. PYTHONPATH=python where transfer_core
is not installed.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from digits import picture
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import transfer_core

SIDE, LARGEST, SMALLEST = 224, 100, 60
HELD_OUT = 0.25  # of the pictures of each class, and of the sheets


def digits() -> dict[str, list[Image.Image]]:
    """scikit-learn's digits by class."""
    data = load_digits()
    return {
        str(label): [picture(image) for image in data.images[data.target == label]] for label in range(10)
    }


def pictures_in(folder: Path) -> dict[str, list[Image.Image]]:
    """The pictures of a class folder, with their transparency."""
    return {one.name: [small(path) for path in sorted(one.iterdir())] for one in sorted(folder.iterdir())}


def small(path: Path) -> Image.Image:
    """A picture, reduced to the largest size on a sheet."""
    with Image.open(path) as image:
        opened = image.convert("RGBA")
    opened.thumbnail((LARGEST, LARGEST))
    return opened


def sheet(pictures: list[Image.Image], rng: np.random.Generator) -> Image.Image:
    """The pictures on white paper, each in its own quarter at a random size and position."""
    paper = Image.new("RGB", (SIDE, SIDE), "white")
    for quarter, whole in zip(rng.permutation(4), pictures, strict=False):
        one = whole.copy()
        one.thumbnail((int(rng.integers(SMALLEST, LARGEST)),) * 2)
        row, column = divmod(int(quarter), 2)
        left = SIDE // 2 * column + int(rng.integers(SIDE // 2 - one.width))
        top = SIDE // 2 * row + int(rng.integers(SIDE // 2 - one.height))
        paper.paste(one, (left, top), one if one.mode == "RGBA" else None)
    return paper


def write_sheets(classes: dict[str, list[Image.Image]], count: int, folder: Path, seed: int = 0) -> Path:
    """Draw `count` sheets and write the manifest with their labels and split."""
    rng = np.random.default_rng(seed)
    parts: dict[str, dict[str, list[Image.Image]]] = {"train": {}, "test": {}}
    for name, pictures in classes.items():
        order = rng.permutation(len(pictures))
        held = max(1, round(HELD_OUT * len(pictures)))
        parts["test"][name] = [pictures[i] for i in order[:held]]
        parts["train"][name] = [pictures[i] for i in order[held:]]
    lines = []
    for i in range(count):
        split = "test" if i < HELD_OUT * count else "train"
        names = sorted(rng.choice(list(classes), size=rng.integers(1, 4), replace=False).tolist())
        chosen = [parts[split][name][rng.integers(len(parts[split][name]))] for name in names]
        sheet(chosen, rng).save(folder / f"{i}.png")
        lines.append(json.dumps({"path": f"{i}.png", "label": names, "split": split}))
    manifest = folder / "sheets.jsonl"
    manifest.write_text("\n".join(lines))
    return manifest


def of_scikit_learn(model: transfer_core.Model, manifest: Path) -> dict[str, float]:
    """Mean average precision of one logistic regression per label, C = 1, on the model's embeddings."""
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    embeddings = model.embed([manifest.parent / row["path"] for row in rows])
    truth = np.array([[label in row["label"] for label in model.labels] for row in rows])
    test = np.array([row["split"] == "test" for row in rows])
    plain = LogisticRegression(max_iter=5000)
    fits = {"as they are": plain, "standardised": make_pipeline(StandardScaler(), plain)}
    found = {}
    for name, fit in fits.items():
        scores = OneVsRestClassifier(fit).fit(embeddings[~test], truth[~test]).predict_proba(embeddings[test])
        found[name] = average_precision_score(truth[test], scores)
    return found


def main(count: int, folder: Path | None) -> None:
    """Train, and compare."""
    classes = pictures_in(folder) if folder else digits()
    with tempfile.TemporaryDirectory() as scratch:
        manifest = write_sheets(classes, count, Path(scratch))
        model = transfer_core.train(backbone="mobilenet_v2", data=manifest)
        metrics = model.metrics
        print(f"{len(model.labels)} labels, {model.header.sizes}")
        low, high = metrics["intervals"]["mean_average_precision"]
        print(f"mean average precision {metrics['mean_average_precision']:.3f} ({low:.3f} to {high:.3f})")
        print(f"baseline, the labels' shares {metrics['baseline']['mean_average_precision']:.3f}")
        for name, reached in of_scikit_learn(model, manifest).items():
            print(f"scikit-learn, embeddings {name} {reached:.3f}")
        print(f"micro-F1 {metrics['micro_f1']:.3f}, macro-F1 {metrics['macro_f1']:.3f}")
        first = json.loads(manifest.read_text().splitlines()[0])
        predicted = model.predict(manifest.parent / first["path"])["labels"]
        print(f"first sheet: {', '.join(first['label'])}; predicted: {', '.join(predicted)}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 400, Path(sys.argv[2]) if len(sys.argv) > 2 else None)

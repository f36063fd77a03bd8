"""An audit of the quickstart's photos with planted wrong labels and near-duplicates (benchmarks/NOTES.md).

python -m benchmarks.planted_defects
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

import transfer_core
from benchmarks import photos

SEEDS = range(10, 20)
CHANGES = ("jpeg", "mirrored", "smaller", "brighter", "cropped")


def with_wrong_labels(labels: Sequence[str], seed: int, share: float = 0.05) -> list[str]:
    """The labels, `share` of them replaced by random other ones."""
    generator, names = np.random.default_rng(seed), sorted(set(labels))
    changed = list(labels)
    for row in generator.choice(len(labels), round(share * len(labels)), replace=False):
        changed[row] = str(generator.choice([name for name in names if name != labels[row]]))
    return changed


def precision_and_recall(files: Sequence[Path], seed: int) -> tuple[float, float]:
    """Of the wrong labels that the audit finds."""
    true = [file.parent.name for file in files]
    given = with_wrong_labels(true, seed)
    rows = [{"input": str(file), "label": label} for file, label in zip(files, given, strict=True)]
    found = {one.input for one in transfer_core.audit(data=rows).of("wrong_label")}
    wrong = {str(file) for file, one, other in zip(files, true, given, strict=True) if one != other}
    return len(found & wrong) / max(1, len(found)), len(found & wrong) / len(wrong)


def altered(image: Image.Image, change: str) -> Image.Image:
    """A near-duplicate of a photo on white."""
    width, height = image.size
    if change == "mirrored":
        return ImageOps.mirror(image)
    if change == "smaller":
        return image.resize((width * 2 // 3, height * 2 // 3))
    if change == "brighter":
        return ImageEnhance.Brightness(image).enhance(1.2)
    if change == "cropped":
        return image.crop((width // 50, height // 50, width - width // 50, height - height // 50))
    return image


def near_duplicates(files: Sequence[Path], count: int, seed: int = 0) -> tuple[int, int]:
    """How many of `count` planted copies are found, and how many findings are false."""
    with tempfile.TemporaryDirectory() as folder:
        rows, pairs = [{"input": str(file), "label": file.parent.name} for file in files], set()
        chosen = np.random.default_rng(seed).choice(len(files), count, replace=False)
        for number, row in enumerate(chosen.tolist()):
            copy = Path(folder) / f"{number}.jpg"
            change = CHANGES[number % len(CHANGES)]
            altered(photos.on_white(files[row]), change).save(copy, quality=75)
            rows.append({"input": str(copy), "label": files[row].parent.name})
            pairs.add((str(copy), str(files[row])))
        found = transfer_core.audit(data=rows).of("near_duplicate")
        right = sum(
            (str(one.input), one.detail.removeprefix("nearly the same as ")) in pairs for one in found
        )
        return right, len(found) - right


if __name__ == "__main__":
    everything = photos.quickstart()
    scores = np.array([precision_and_recall(everything, seed) for seed in SEEDS])
    (precision, recall), (least_precision, least_recall) = scores.mean(axis=0), scores.min(axis=0)
    print(f"wrong labels: precision {precision:.2f} ({least_precision:.2f}), ", end="")
    print(f"recall {recall:.2f} ({least_recall:.2f})")
    print("near-duplicates: {} of 60 found, {} false".format(*near_duplicates(everything, 60)))

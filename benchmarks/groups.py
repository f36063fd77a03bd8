"""Spurious correlation as in Waterbirds (Sagawa et al. 2020): objects on backgrounds that predict the class.

    python -m benchmarks.groups              five seeds, MobileNetV2; run bin/quickstart first

Objects of the quickstart's photos, which have transparent backgrounds, are pasted on textures of land or
water. In training `RARE` of each class is on the unusual background; of the test examples it is half, and no
object is in both. Printed: accuracy, and that of the worst class on a background (its recall).
"""

from __future__ import annotations

import argparse
import csv
import statistics
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

import transfer_core
from benchmarks.environment import cache
from benchmarks.photos import quickstart

CLASSES = {"animal": ("mammal", "bird"), "thing": ("household", "vehicle", "coin")}
USUAL = {"animal": "land", "thing": "water"}
RARE, PER_OBJECT, SIDE = 0.05, 2, 160
WEIGHTS = ("none", "balanced", "robust")


def background(kind: str, rng: np.random.Generator) -> Image.Image:
    """A texture: green and brown patches, or blue waves."""
    noise = Image.fromarray(rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8))
    if kind == "land":
        patches = np.asarray(noise.filter(ImageFilter.GaussianBlur(3)), float)
        patches = (patches - patches.mean()) / patches.std()
        color, spread = np.array([96, 124, 58]) + rng.normal(0, 12, 3), np.array([26, 20, 16])
        pixels = color + patches[..., None] * spread
    else:
        rows = np.arange(SIDE)[:, None] * rng.uniform(0.15, 0.4)
        bend = np.asarray(noise.filter(ImageFilter.GaussianBlur(9)), float)
        waves = np.sin(rows + bend / 6 + rng.uniform(0, 6))
        pixels = np.array([52, 108, 160]) + rng.normal(0, 12, 3) + waves[..., None] * np.array([14, 20, 26])
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def pasted(photo: Path, kind: str, rng: np.random.Generator) -> Image.Image:
    """The object of a photo on a background."""
    drawn = Image.open(photo).convert("RGBA")
    drawn.thumbnail((SIDE * 0.7, SIDE * 0.7))
    image = background(kind, rng)
    place = tuple(int(rng.integers(0, SIDE - side + 1)) for side in drawn.size)
    image.paste(drawn, place, drawn)
    return image


def examples(seed: int) -> Iterator[tuple[Path, str, str, str]]:
    """Photo, label, background and part of each example."""
    rng = np.random.default_rng(seed)
    for label, names in CLASSES.items():
        photos = [photo for photo in quickstart() if photo.parent.name in names]
        order = rng.permutation(len(photos))
        tested = len(photos) // 3
        other = next(kind for name, kind in USUAL.items() if name != label)
        for place, number in enumerate(order.tolist()):
            part = "test" if place < tested else "train"
            for copy in range(PER_OBJECT):
                usual = copy % 2 == 0 if part == "test" else rng.random() >= RARE
                yield photos[number], label, USUAL[label] if usual else other, part


def manifest(seed: int) -> Path:
    """A table with path, label, background and split, beside its photos."""
    folder = cache() / "groups" / str(seed)
    if (folder / "all.csv").exists():
        return folder / "all.csv"
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, 1])
    rows = [("path", "label", "background", "split")]
    for number, (photo, label, kind, part) in enumerate(examples(seed)):
        pasted(photo, kind, rng).save(folder / f"{number}.png")
        rows.append((f"{number}.png", label, kind, part))
    with (folder / "all.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder / "all.csv"


def measure(seed: int, weights: str, **words: object) -> dict[str, float]:
    """Accuracy, and the lowest recall of a class on a background."""
    data = {"data": str(manifest(seed)), "columns": {"group": "background"}, "seed": seed}
    model = transfer_core.train(
        backbone="mobilenet_v2", split={"near_duplicates": False}, group_weights=weights, **data, **words
    )
    cells = model.metrics["groups"]["worst_cells"]
    return {"accuracy": model.metrics["accuracy"], "worst": cells[0]["value"]}


def main() -> None:
    """Print a row per kind of weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    seeds = range(parser.parse_args().seeds)
    print("| group_weights | accuracy | worst class on a background | by seed |\n|---|---|---|---|")
    for weights in WEIGHTS:
        found = [measure(seed, weights) for seed in seeds]
        accuracy, worst = (statistics.mean(one[name] for one in found) for name in ("accuracy", "worst"))
        by_seed = ", ".join(f"{one['worst']:.2f}" for one in found)
        print(f"| {weights} | {accuracy:.3f} | {worst:.3f} | {by_seed} |", flush=True)


if __name__ == "__main__":
    main()

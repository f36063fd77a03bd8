"""Test-time augmentation on the quickstart's photos: accuracy and log loss by kind of view, five seeds.

python -m benchmarks.views              run bin/quickstart first
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import transfer_core
from benchmarks.photos import split

WAYS: Mapping[str, Any] = {
    "none": False,
    "flip": ["flip"],
    "crop of at least 0.8": True,
    "flip, crop of at least 0.8": ["flip", {"type": "crop", "min_scale": 0.8}],
    "flip, crop of at least 0.5": ["flip", "crop"],
    "color": ["color"],
}


def measure(seed: int) -> dict[str, tuple[float, float]]:
    """Test accuracy and log loss of one model with each kind of views."""
    root = split(seed)
    data = {"train": str(root / "train"), "test": str(root / "test")}
    model = transfer_core.train(backbone="mobilenet_v2", data=data, seed=seed)
    photos = sorted((root / "test").glob("*/*"))
    found = {}
    for name, augment in WAYS.items():
        predictions = model.predict([str(photo) for photo in photos], augment=augment)
        own = [_own(prediction, photo) for prediction, photo in zip(predictions, photos, strict=True)]
        found[name] = (float(np.mean([right for right, _ in own])), float(np.mean([loss for _, loss in own])))
    return found


def _own(prediction: Mapping[str, Any], photo: Path) -> tuple[bool, float]:
    label = photo.parent.name
    return prediction["label"] == label, -float(np.log(max(prediction["scores"][label], 1e-12)))


def main() -> None:
    """Print a row per kind of views."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    seeds = [measure(seed) for seed in range(parser.parse_args().seeds)]
    print("| views | accuracy | log loss |\n|---|---|---|")
    for name in WAYS:
        accuracy, loss = (statistics.mean(one[name][part] for one in seeds) for part in (0, 1))
        print(f"| {name} | {accuracy:.3f} | {loss:.3f} |", flush=True)


if __name__ == "__main__":
    main()

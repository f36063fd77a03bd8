"""Write scikit-learn's 1797 handwritten digits (8x8 pixels, ten classes) as PNG files in class folders.

    python examples/digits.py FOLDER [PER_CLASS]

FOLDER/photos gets one folder per digit, FOLDER/unseen three other digits.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

SCALE = 8  # enlarged to 64x64, to be visible


def main(folder: Path, per_class: int | None) -> None:
    """Write the pictures into `folder`, which appears only when it is complete."""
    digits = load_digits()
    unfinished = folder.with_name(folder.name + ".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    for label in map(str, range(10)):
        class_folder = unfinished / "photos" / label
        class_folder.mkdir(parents=True)
        rows = np.flatnonzero(digits.target == int(label))
        for row in rows[:per_class]:
            picture(digits.images[row]).save(class_folder / f"{row:04}.png")
    unseen = unfinished / "unseen"
    unseen.mkdir()
    for label in ("3", "5", "8"):
        chosen = sorted((unfinished / "photos" / label).iterdir())[-1]
        chosen.rename(unseen / f"{label}-{chosen.name}")
    unfinished.rename(folder)


def picture(digit: np.ndarray) -> Image.Image:
    """Dark ink on white paper, from (8, 8) values between 0 and 16."""
    ink = (255 - digit * 255 / 16).astype(np.uint8)
    return Image.fromarray(ink).resize((8 * SCALE, 8 * SCALE), Image.Resampling.BICUBIC).convert("RGB")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None)

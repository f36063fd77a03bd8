"""Make a class folder of pictures out of Debian's package tuxpaint-stamps-default.

    python examples/stamps.py STAMPS FOLDER

STAMPS is the package's folder of categories. FOLDER/photos gets one folder per class, FOLDER/unseen three
other pictures. Cartoons (by folder, or with an SVG of the same name), mirrored variants and near-duplicates
are left out, so that no picture is in both training and test.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = {
    "bird": "animals/birds",
    "christmas": "seasonal/christmas",
    "coin": "symbols/money",
    "flower": "plants/flowers",
    "fruit": "food/fruit",
    "halloween": "seasonal/halloween",
    "hand_sign": "symbols/alphabets/asl",
    "household": "household",
    "mammal": "animals/mammals",
    "road_sign": "town/roadsigns",
    "space": "space",
    "vegetable": "food/vegetables",
    "vehicle": "vehicles",
}
AT_LEAST = 15  # pictures per class: about 10 for training, 2 for validation, 3 for test
UNSEEN = ("fruit", "mammal", "road_sign")  # one picture of each is held back
SIDE = 16  # a fingerprint compares each of 16 x 16 pixels with the next ones right and below
DUPLICATE = 0.25  # Jaccard distance between fingerprints; different pictures of one subject start at 0.26


def is_photo(path: Path) -> bool:
    """Whether a PNG is not a cartoon."""
    return not path.with_suffix(".svg").exists() and not {"cartoon", "toys", "plastic"} & set(path.parts)


def fingerprint(image: Image.Image) -> np.ndarray:
    """Signs of the gradients to the right and below: bool (2, 16, 16), independent of size and border."""
    subject = image.crop(image.getchannel("A").getbbox())
    white = Image.new("RGBA", subject.size, "white")
    grey = Image.alpha_composite(white, subject).convert("L")
    pixels = np.asarray(grey.resize((SIDE + 1, SIDE + 1), Image.Resampling.BOX), dtype=np.int16)
    here = pixels[:-1, :-1]
    return np.stack([pixels[:-1, 1:] > here, pixels[1:, :-1] > here])


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Jaccard distance: the share of the bits set in `a` or `b` that differ."""
    return float((a ^ b).sum() / max((a | b).sum(), 1))


def without_duplicates(photos: list[Path]) -> Iterator[Path]:
    """The first of each group of near-duplicates, mirrored ones included."""
    seen: list[np.ndarray] = []
    for photo in photos:
        image = Image.open(photo).convert("RGBA")
        mirrored = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        prints = [fingerprint(image), fingerprint(mirrored)]
        if all(distance(old, new) >= DUPLICATE for old in seen for new in prints):
            seen.append(prints[0])
            yield photo


def main(stamps: Path, folder: Path) -> None:
    """Link the chosen photos into `folder`, which is there only when it is complete."""
    unfinished = folder.with_name(folder.name + ".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    (unfinished / "unseen").mkdir(parents=True)
    for label, category in CLASSES.items():
        photos = [path for path in sorted((stamps / category).rglob("*.png")) if is_photo(path)]
        kept = list(without_duplicates(photos))
        print(f"{label}: {len(kept)} pictures, {len(photos) - len(kept)} near duplicates left out")
        if len(kept) < AT_LEAST:
            continue
        (unfinished / "photos" / label).mkdir(parents=True)
        for photo in kept:
            name = "-".join(photo.relative_to(stamps / category).parts)
            unseen = label in UNSEEN and photo == kept[len(kept) // 2]
            os.link(photo, unfinished / (f"unseen/{label}-{name}" if unseen else f"photos/{label}/{name}"))
    if not (unfinished / "photos").exists():
        sys.exit(f"{stamps} has no category with {AT_LEAST} pictures")
    unfinished.rename(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

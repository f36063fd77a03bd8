"""Label the faces in a folder of photos with a pretrained detector, as data for a detector of one's own.

    pip install --no-deps facenet-pytorch
    python examples/faces.py PHOTOS
    transfer train PHOTOS/faces.csv --task detection --save faces.transfer

Writes PHOTOS/faces.csv: path, label, x, y, width and height; a photo without faces has a line without a box.
The package facenet-pytorch (MIT) carries the weights of MTCNN (Zhang et al. 2016). Its labels are good, not
perfect: look at them, and correct the file, before a model is trained on it. No package of Debian or PyPI
carries photos with faces in number, so the photos are yours.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from facenet_pytorch import MTCNN

from transfer_core.data.decode import decode_image
from transfer_core.data.formats import has_image_extension

LEAST = 0.95  # score of a face
LONGEST = 1600  # pixels of the longer side in which faces are searched


def main(folder: Path) -> None:
    """Write the CSV beside the photos."""
    detector = MTCNN(keep_all=True, min_face_size=24)
    lines: list[tuple[str | float, ...]] = []
    faces = 0
    photos = sorted(path for path in folder.rglob("*") if has_image_extension(path.name))
    for path in photos:
        name = path.relative_to(folder).as_posix()
        found = [(name, "face", *(round(side, 1) for side in box)) for box in boxes(detector, path)]
        faces += len(found)
        lines += found or [(name, "", "", "", "", "")]
    with open(folder / "faces.csv", "w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "x", "y", "width", "height"), *lines])
    print(f"{faces} faces in {len(photos)} photos: {folder / 'faces.csv'}")


def boxes(detector: MTCNN, path: Path) -> list[tuple[float, float, float, float]]:
    """x, y, width and height of each face in pixels of the upright photo, within it."""
    photo = decode_image(str(path))
    small = photo.copy()
    small.thumbnail((LONGEST, LONGEST))
    corners, scores = detector.detect(small)
    if corners is None:
        return []
    scale = photo.width / small.width
    found = []
    for (x1, y1, x2, y2), score in zip(corners * scale, scores, strict=True):
        if score >= LEAST:
            left, top = max(0.0, float(x1)), max(0.0, float(y1))
            right, bottom = min(float(photo.width), float(x2)), min(float(photo.height), float(y2))
            found.append((left, top, right - left, bottom - top))
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]))

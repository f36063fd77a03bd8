"""Make a synthetic data set for object detection out of two Debian packages, as COCO and as YOLO.

    python examples/scenes.py STAMPS BACKGROUNDS FOLDER [TRAIN [VALID [TEST]]]

STAMPS is /usr/share/tuxpaint/stamps of tuxpaint-stamps-default, BACKGROUNDS the folder of photos of
budgie-backgrounds (CC0). FOLDER gets images, annotations (COCO), labels (YOLO) and data.yaml.

Cut-outs of four classes are pasted on crops of the photos. A cut-out and a photo are in one part alone
(train, valid or test). Cut-outs of other subjects are pasted the same way without a label, so that an edge
alone does not tell an object. Edges are feathered, colours are moved towards the surroundings, objects may
hide one another, some images have no object, and all are compressed as JPEG. A box surrounds what is visible.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter
from stamps import CLASSES, is_photo, without_duplicates

LABELS = ("fruit", "household", "mammal", "road_sign")
DISTRACTORS = ("bird", "coin", "flower", "space", "vegetable", "vehicle")
PARTS = {"train": 300, "valid": 60, "test": 120}
SHARES = {"train": 0.6, "valid": 0.15, "test": 0.25}
WITHOUT = ("oakland-zoo-otters",)  # a photo of mammals
LONGEST = 1600  # pixels of a background photo
SIZES = ((480, 360), (360, 480), (420, 420))
EMPTY = 0.1  # share of images without objects
SMALLEST, LARGEST = 0.1, 0.5  # longer side of an object as a share of the image's shorter side
VISIBLE = 0.35  # an object of which less is visible is not pasted, and hides no other so far


@dataclass(frozen=True)
class Placed:
    """A pasted object: the class (None for a distractor), and its opaque pixels as bool (H, W)."""

    label: str | None
    mask: np.ndarray


def main(stamps: Path, photos: Path, folder: Path, counts: Sequence[int]) -> None:
    """Write the data set; `folder` is there only when it is complete."""
    rng = np.random.default_rng(0)
    unfinished = folder.with_name(folder.name + ".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    cut_outs = {name: _split(_cut_outs(stamps / CLASSES[name])) for name in (*LABELS, *DISTRACTORS)}
    backgrounds = _split([path for path in sorted(photos.glob("*.jpg")) if path.stem not in WITHOUT])
    for part, count in zip(PARTS, counts, strict=True):
        scenes = [_open(path) for path in backgrounds[part]]
        own = {
            name: [Image.open(path).convert("RGBA") for path in found[part]]
            for name, found in cut_outs.items()
        }
        annotations = []
        for number in range(count):
            image, boxes = scene(scenes, own, rng)
            name = f"{number:04}.jpg"
            _write(unfinished, part, name, image, boxes, rng)
            annotations.append((name, image.size, boxes))
        _write_coco(unfinished / "annotations" / f"instances_{part}.json", annotations)
        total = sum(len(boxes) for *_, boxes in annotations)
        print(f"{part}: {count} images, {total} boxes, {len(scenes)} photos")
    names = "".join(f"  {place}: {label}\n" for place, label in enumerate(LABELS))
    (unfinished / "data.yaml").write_text(
        f"train: images/train\nval: images/valid\ntest: images/test\nnames:\n{names}"
    )
    unfinished.rename(folder)


def scene(
    backgrounds: Sequence[Image.Image], cut_outs: dict[str, list[Image.Image]], rng: np.random.Generator
) -> tuple[Image.Image, list[tuple[str, tuple[int, int, int, int]]]]:
    """One image, and its boxes: label, and x, y, width and height of the visible part."""
    image = _crop(backgrounds[rng.integers(len(backgrounds))], SIZES[rng.integers(len(SIZES))], rng)
    objects = 0 if rng.random() < EMPTY else int(rng.integers(1, 6))
    labels = [*rng.choice(LABELS, objects), *rng.choice(DISTRACTORS, rng.integers(0, 4))]
    placed: list[Placed] = []
    for label in rng.permutation(labels):
        cut_out = cut_outs[label][rng.integers(len(cut_outs[label]))]
        _paste(image, cut_out, str(label), placed, rng)
    boxes = []
    for place, one in enumerate(placed):
        visible = one.mask.copy()
        for above in placed[place + 1 :]:
            visible &= ~above.mask
        if one.label:
            rows, columns = np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
            x, y = int(columns[0]), int(rows[0])
            boxes.append((one.label, (x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y)))
    return image, boxes


def _paste(
    image: Image.Image, cut_out: Image.Image, label: str, placed: list[Placed], rng: np.random.Generator
) -> None:
    """Paste a cut-out at a random place and size where it hides no other object too much."""
    seen = _varied(cut_out, label, min(image.size), rng)
    for _ in range(10):
        left = int(rng.integers(-seen.width // 5, image.width - seen.width * 4 // 5 + 1))
        top = int(rng.integers(-seen.height // 5, image.height - seen.height * 4 // 5 + 1))
        alpha = Image.new("L", image.size)
        alpha.paste(seen.getchannel("A"), (left, top))
        mask = np.asarray(alpha) > 127
        if mask.sum() < 60 or not all(_visible(place, placed, mask) for place in range(len(placed))):
            continue
        pixels = Image.new("RGB", image.size)
        pixels.paste(seen.convert("RGB"), (left, top))
        matched = _matched(np.asarray(pixels, float), np.asarray(image, float), mask, rng)
        soft = alpha.filter(ImageFilter.GaussianBlur(rng.uniform(0.6, 1.4)))
        image.paste(Image.fromarray(matched), mask=soft)
        placed.append(Placed(label if label in LABELS else None, mask))
        return


def _visible(place: int, placed: Sequence[Placed], mask: np.ndarray) -> bool:
    """Whether enough of an object is visible below a new one with `mask`."""
    own = placed[place].mask
    left = own & ~mask
    for above in placed[place + 1 :]:
        left &= ~above.mask
    return bool(left.sum() >= VISIBLE * own.sum())


def _varied(cut_out: Image.Image, label: str, side: int, rng: np.random.Generator) -> Image.Image:
    """A cut-out in another size, angle, light and sharpness; only pictures that have no text are mirrored."""
    subject = cut_out.crop(cut_out.getchannel("A").getbbox())
    if label not in ("road_sign", "coin") and rng.random() < 0.5:
        subject = subject.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    longer = side * np.exp(rng.uniform(np.log(SMALLEST), np.log(LARGEST)))
    scale = longer / max(subject.size)
    size = max(4, round(subject.width * scale)), max(4, round(subject.height * scale))
    subject = subject.resize(size, Image.Resampling.LANCZOS)
    subject = subject.rotate(rng.uniform(-15, 15), Image.Resampling.BICUBIC, expand=True)
    alpha = subject.getchannel("A")
    seen = ImageEnhance.Brightness(subject.convert("RGB")).enhance(rng.uniform(0.7, 1.2))
    seen = seen.filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.8)))
    seen.putalpha(alpha)
    return seen


def _matched(
    pixels: np.ndarray, surroundings: np.ndarray, mask: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Move mean and contrast of an object part of the way to those of the pixels that it covers."""
    own, behind = pixels[mask], surroundings[mask]
    share = rng.uniform(0.1, 0.4)
    mean = (1 - share) * own.mean(axis=0) + share * behind.mean(axis=0)
    contrast = 1 + share / 2 * (behind.std() / max(own.std(), 1) - 1)
    moved = (pixels - own.mean(axis=0)) * contrast + mean
    return moved.clip(0, 255).astype(np.uint8)


def _crop(photo: Image.Image, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """A random part of a photo, mirrored at random."""
    scale = rng.uniform(1, min(photo.width / size[0], photo.height / size[1]))
    width, height = int(size[0] * scale), int(size[1] * scale)
    left, top = int(rng.integers(0, photo.width - width + 1)), int(rng.integers(0, photo.height - height + 1))
    part = photo.resize(size, Image.Resampling.LANCZOS, (left, top, left + width, top + height))
    return part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else part


def _open(path: Path) -> Image.Image:
    with Image.open(path) as photo:
        photo.draft("RGB", (LONGEST, LONGEST))
        image = photo.convert("RGB")
    image.thumbnail((LONGEST, LONGEST))
    return image


def _cut_outs(folder: Path) -> list[Path]:
    """Pictures with transparency around the subject, without near-duplicates."""
    return list(without_duplicates([path for path in sorted(folder.rglob("*.png")) if _usable(path)]))


def _usable(path: Path) -> bool:
    if not is_photo(path):
        return False
    alpha = np.asarray(Image.open(path).convert("RGBA").getchannel("A"))
    return bool(0.05 < (alpha > 127).mean() < 0.97)


def _split(paths: Sequence[Path]) -> dict[str, list[Path]]:
    """Divide paths by the part that they belong to alone."""
    order = np.random.default_rng(len(paths)).permutation(len(paths))
    bounds = np.cumsum([round(share * len(paths)) for share in SHARES.values()])[:-1]
    return {
        part: [paths[i] for i in rows] for part, rows in zip(SHARES, np.split(order, bounds), strict=True)
    }


def _write(
    folder: Path,
    part: str,
    name: str,
    image: Image.Image,
    boxes: Sequence[tuple[str, tuple[int, int, int, int]]],
    rng: np.random.Generator,
) -> None:
    """Write an image and its YOLO labels."""
    for kind in ("images", "labels", "annotations"):
        (folder / kind / ("" if kind == "annotations" else part)).mkdir(parents=True, exist_ok=True)
    image.save(folder / "images" / part / name, quality=int(rng.integers(70, 95)))
    lines = []
    for label, (x, y, width, height) in boxes:
        shares = (x + width / 2) / image.width, (y + height / 2) / image.height
        sides = width / image.width, height / image.height
        lines.append(f"{LABELS.index(label)} " + " ".join(f"{value:.6f}" for value in (*shares, *sides)))
    (folder / "labels" / part / name).with_suffix(".txt").write_text("".join(f"{line}\n" for line in lines))


def _write_coco(path: Path, found: Sequence[tuple[str, tuple[int, int], list]]) -> None:
    def annotations() -> Iterator[dict]:
        for image, (_, _, boxes) in enumerate(found):
            for label, box in boxes:
                kind = LABELS.index(label)
                yield {
                    "image_id": image,
                    "category_id": kind,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }

    document = {
        "images": [
            {"id": number, "file_name": name, "width": size[0], "height": size[1]}
            for number, (name, size, _) in enumerate(found)
        ],
        "annotations": [{"id": number, **one} for number, one in enumerate(annotations(), start=1)],
        "categories": [{"id": number, "name": label} for number, label in enumerate(LABELS)],
    }
    path.write_text(json.dumps(document))


if __name__ == "__main__":
    given = [int(count) for count in sys.argv[4:]]
    main(*map(Path, sys.argv[1:4]), [*given, *list(PARTS.values())[len(given) :]])

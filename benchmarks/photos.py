"""The photos that are measured with: the quickstart's, many like them, and large ones. Seeded, made once.

Everything lies in the cache folder and is there only when it is complete.
"""

from __future__ import annotations

import csv
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from benchmarks.environment import MissingError, cache

TEST_SHARE = 0.2
LARGE = (1600, 1200)
MADE_IN = "version-1"  # changes whenever the same seed would give other files


def quickstart() -> list[Path]:
    """The photos that bin/quickstart trains on, sorted; the folder of each is its class."""
    folder = cache().parent / "stamps" / "photos"
    photos = sorted(folder.glob("*/*"))
    if not photos:
        raise MissingError(f"no photos in {folder}; bin/quickstart fetches them")
    return photos


def split(seed: int, at_most: int | None = None) -> Path:
    """A folder with `train/` and `test/`, a fifth of each class in `test`, that everyone reads.

    The photos are on white instead of transparent: what lies under transparency is not to be seen, but
    libraries that only drop the alpha channel would be judged by it.
    """
    photos = quickstart()
    if at_most:
        photos = photos[:: max(1, len(photos) // at_most)]
    test = set(held_out([photo.parent.name for photo in photos], seed))

    def make(folder: Path) -> None:
        for i, photo in enumerate(photos):
            place = folder / ("test" if i in test else "train") / photo.parent.name / f"{photo.stem}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            on_white(photo).save(place, compress_level=1)

    return _made(f"split-{seed}-of-{len(photos)}", make)


def held_out(labels: Sequence[str], seed: int) -> list[int]:
    """The rows of a stratified fifth, at least one of each class that has two."""
    generator = np.random.default_rng(seed)
    rows: list[int] = []
    for label in sorted(set(labels)):
        mine = [row for row, other in enumerate(labels) if other == label]
        if len(mine) > 1:
            rows += generator.permutation(mine)[: max(1, round(TEST_SHARE * len(mine)))].tolist()
    return sorted(rows)


def grown(count: int, of: int) -> Path:
    """A manifest of the first `count` of `of` photos: crops of quickstart photos in colours of their own."""
    photos = _classes_in_turn(quickstart())

    def make(folder: Path) -> None:
        _in_processes(partial(_write_variant, photos, folder), of)

    folder = _made(f"grown-{of}", make)
    manifest = folder / f"first-{count}.csv"
    _write_manifest(
        manifest, [(_variant_name(photos, i), photos[i % len(photos)].parent.name) for i in range(count)]
    )
    return manifest


def large(count: int) -> Path:
    """A folder with `train/` and `test/`: JPEGs of 1600 x 1200, quality 85, enlarged photos with texture."""
    photos = _classes_in_turn(quickstart())
    test = set(held_out([photos[i % len(photos)].parent.name for i in range(count)], 0))

    def make(folder: Path) -> None:
        _in_processes(partial(_write_large, photos, folder, test), count)

    return _made(f"large-{count}", make)


def on_white(photo: Path) -> Image.Image:
    """RGB, what is transparent white."""
    image = Image.open(photo).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _classes_in_turn(photos: Sequence[Path]) -> list[Path]:
    """The first of each class, then the second of each: the beginning of the list has all classes."""
    number: Counter[str] = Counter()
    order = []
    for photo in photos:
        order.append((number[photo.parent.name], photo))
        number[photo.parent.name] += 1
    return [photo for _, photo in sorted(order)]


def _variant_name(photos: Sequence[Path], i: int) -> str:
    return f"{photos[i % len(photos)].parent.name}-{i:05}.png"


def _write_variant(photos: Sequence[Path], folder: Path, i: int) -> None:
    generator = np.random.default_rng([1, i])
    image = on_white(photos[i % len(photos)])
    margin = generator.uniform(0, 0.12, 4) * [image.width, image.height, image.width, image.height]
    box = (int(margin[0]), int(margin[1]), image.width - int(margin[2]), image.height - int(margin[3]))
    image = image.resize(image.size, Image.Resampling.BICUBIC, box=box)
    for enhancer in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhancer(image).enhance(generator.uniform(0.85, 1.15))
    image.save(folder / _variant_name(photos, i), compress_level=1)


def _write_large(photos: Sequence[Path], folder: Path, test: set[int], i: int) -> None:
    generator = np.random.default_rng([2, i])
    photo = photos[i % len(photos)]
    image = on_white(photo)
    image.thumbnail(LARGE)
    scale = generator.uniform(0.6, 1.0) * min(LARGE[0] / image.width, LARGE[1] / image.height)
    image = image.resize(
        (max(1, int(image.width * scale)), max(1, int(image.height * scale))), Image.Resampling.BICUBIC
    )
    paper = generator.integers(190, 256, 3)
    canvas = Image.new("RGB", LARGE, tuple(int(value) for value in paper))
    left, top = (
        int(generator.integers(0, free + 1)) for free in (LARGE[0] - image.width, LARGE[1] - image.height)
    )
    canvas.paste(image, (left, top))
    grain = generator.normal(0, 6, (LARGE[1] // 2, LARGE[0] // 2, 1)).repeat(2, axis=0).repeat(2, axis=1)
    textured = np.clip(np.asarray(canvas, np.float32) + grain, 0, 255).astype(np.uint8)
    place = folder / ("test" if i in test else "train") / photo.parent.name / f"{i:05}.jpg"
    place.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(textured).save(place, quality=85)


def _write_manifest(file: Path, rows: Iterable[tuple[str, str]]) -> None:
    if file.exists():
        return
    unfinished = file.with_suffix(".new")
    with unfinished.open("w", newline="") as out:
        csv.writer(out).writerows([("path", "label"), *rows])
    unfinished.rename(file)


def _in_processes(write: Callable[[int], None], count: int) -> None:
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for done, _ in enumerate(pool.map(write, range(count), chunksize=20), 1):
            if done % 1000 == 0:
                print(f"  made {done:,} of {count:,} photos", flush=True)


def _made(name: str, make: Callable[[Path], None]) -> Path:
    folder = cache() / MADE_IN / name
    if not folder.exists():
        unfinished = folder.with_name(folder.name + ".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        make(unfinished)
        unfinished.rename(folder)
    return folder

"""Draw seeded photos of the road signs in examples/traffic_signs: a class folder per sign.

    python examples/signs.py FOLDER [PER_SIGN]

FOLDER/photos gets PER_SIGN (20) JPEG files of each sign, FOLDER/unseen one more of three signs. The signs
are real designs from Debian's package openclipart-png (public domain). The photos are synthetic: distance,
angle, light, blur and background are drawn at random.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

SIDE = 128  # pixels of a photo
DESIGNS = Path(__file__).with_name("traffic_signs")
UNSEEN = ("cattle", "give_way", "no_cycles")


def main(folder: Path, per_sign: int) -> None:
    """Write the photos of every design."""
    rng = np.random.default_rng(0)
    (folder / "unseen").mkdir(parents=True)
    for design in sorted(DESIGNS.glob("*.png")):
        with Image.open(design) as image:
            sign = image.convert("RGBA")
        target = folder / "photos" / design.stem
        target.mkdir(parents=True)
        for number in range(per_sign):
            save(photo(sign, rng), target / f"{number:03}.jpg", rng)
        if design.stem in UNSEEN:
            save(photo(sign, rng), folder / "unseen" / f"{design.stem}.jpg", rng)


def photo(sign: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A photo of the sign: 32 to 110 pixels tall, tilted, seen from the side, blurred, in any light."""
    return photo_and_box(sign, rng)[0]


def photo_and_box(
    sign: Image.Image, rng: np.random.Generator
) -> tuple[Image.Image, tuple[int, int, int, int]]:
    """As `photo`, with the place of the sign: left, top, right, bottom in pixels."""
    size = int(rng.uniform(32, 110))
    seen = sign.resize((max(8, int(size * rng.uniform(0.75, 1))), size), Image.Resampling.LANCZOS)
    seen = seen.rotate(rng.uniform(-10, 10), Image.Resampling.BICUBIC, expand=True)
    scene = background(rng)
    left, top = (int(rng.integers(0, SIDE - length)) for length in seen.size)
    scene.paste(seen, (left, top), seen)
    scene = ImageEnhance.Brightness(scene).enhance(rng.uniform(0.35, 1.2))
    scene = ImageEnhance.Color(scene).enhance(rng.uniform(0.4, 1.2))
    box = (left, top, left + seen.width, top + seen.height)
    return scene.filter(ImageFilter.GaussianBlur(rng.uniform(0, 1.5))), box


def background(rng: np.random.Generator) -> Image.Image:
    """Sky, trees or walls: coarse noise of low saturation."""
    coarse = (rng.uniform(50, 200, (6, 6, 1)) + rng.uniform(-25, 25, (6, 6, 3))).astype(np.uint8)
    scene = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    grain = rng.normal(0, 12, (SIDE, SIDE, 1))
    return Image.fromarray(np.clip(np.asarray(scene) + grain, 0, 255).astype(np.uint8))


def save(image: Image.Image, path: Path, rng: np.random.Generator) -> None:
    """Write a JPEG of a random quality."""
    image.save(path, quality=int(rng.integers(40, 90)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 20)

"""Small coloured photos whose classes a backbone tells apart."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

COLORS = {"brick": (180, 60, 40), "leaf": (60, 150, 60), "sky": (60, 120, 200)}
SIZE = 64


def pixels(color, seed, size=SIZE, noise=25):
    """Noise around a colour, uint8 (H, W, 3)."""
    drawn = np.random.default_rng(seed).normal(0, noise, (size, size, 3)) + color
    return np.clip(drawn, 0, 255).astype(np.uint8)


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def save(path, array):
    """Write pixels as an image; returns the path as text."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return str(path)


def class_folder(root, per_class=8, colors=COLORS, first_seed=0):
    """`root`/brick/0.png …; returns the root as text."""
    for number, (label, color) in enumerate(colors.items()):
        for i in range(per_class):
            save(Path(root) / label / f"{i}.png", pixels(color, first_seed + 100 * number + i))
    return str(root)


def rows(per_class=8, colors=COLORS):
    """The same photos as rows of bytes, one at a time."""
    for number, (label, color) in enumerate(colors.items()):
        for i in range(per_class):
            yield {"input": png(pixels(color, 100 * number + i)), "label": label}

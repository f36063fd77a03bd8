"""Made-up photos and texts on which a faster way of computing must prove that it gives the same embeddings.

Photos are of the kinds that rounding hurts most: large even areas, little contrast, hard edges; texts are
long and short, plain and odd. Being made up, they are the same on every machine, whatever is to follow.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from transfer_core.features.pixels import Pixels

Plane = npt.NDArray[np.float64]

PROBE_TEXTS = (
    "Yes!",
    "not good",
    "The train leaves at nine, and I have not had breakfast yet.",
    "Es war einmal ein König, der hatte eine Tochter, die war über alle Maßen schön.",
    "Where can I get a refund for the order that was never delivered? Nobody answers the phone.",
    "@someone lol this is sooo bad 😂😂 #fail http://example.com/abc123",
    "def area(radius): return 3.14159 * radius ** 2  # square metres",
    "La réunion est reportée au 12 mars 2031 à 14 h 30, salle B-204; merci de prévenir les autres.",
    "今日はとても天気がいいので、公園まで歩いて行きました。",
    "In the opinion of the committee, which met twice over the summer, the proposal does more harm than good:"
    " it costs more than was planned, helps fewer people than promised, and leaves open who answers for it.",
)


def probe_photos(size: int) -> list[Pixels]:
    """Four photos, uint8 (size, size, 3), always the same."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:size, 0:size] / size
    disc = ((x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.08)[..., None]
    lines = ((np.sin(40 * x + 9 * y) > 0.9) & (abs(y - 0.5) < 0.3))[..., None]
    texture = np.stack([_clouds(size, rng) for _ in range(3)], axis=2)
    photos = [
        np.where(disc, [230.0, 120, 20], 255.0),
        128 + 6 * texture,
        [40.0, 80, 200] + (120 * y)[..., None] + 3 * texture,
        np.where(lines, 0.0, np.where(disc, 128 + 40 * texture, 255.0)),
    ]
    return [np.clip(photo, 0, 255).astype(np.uint8) for photo in photos]


def _clouds(size: int, rng: np.random.Generator) -> Plane:
    """Noise of mean 0 and deviation 1 whose amplitude falls as 1 / f, as it does in photos (Field 1987)."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((size, size))) / frequency
    plane: Plane = np.fft.irfft2(spectrum, (size, size))
    plane -= plane.mean()
    plane /= plane.std()
    return plane

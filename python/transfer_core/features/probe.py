"""Made-up photos and texts on which a faster way of computing must prove that it gives the same embeddings.

Photos are of the kinds that rounding hurts most. Where neighbouring pixels are alike, each of them is rounded
the same way, and the average over places that ends most networks averages nothing out: smooth shades, a few
pixels blown up, a thing cut out on white. Texts are long and short, plain and odd. Being made up, they are
the same on every machine, whatever is to follow.
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
    """Sixteen photos, uint8 (size, size, 3), always the same."""
    rng = np.random.default_rng(0)
    kinds = (_shade, _blown_up, _shade, _cut_out)
    photos = [kind(size, rng) for _ in range(4) for kind in kinds]
    return [np.clip(photo, 0, 255).astype(np.uint8) for photo in photos]


def even_photos(size: int) -> list[Pixels]:
    """Black, grey and white, uint8 (size, size, 3): the most even photos that there are."""
    return [np.full((size, size, 3), level, np.uint8) for level in (0, 128, 255)]


def _shade(size: int, rng: np.random.Generator) -> Plane:
    """One muted colour that gets lighter towards one side."""
    y, x = np.mgrid[0:size, 0:size] / size - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    towards = x * np.cos(angle) + y * np.sin(angle)
    shade: Plane = _muted_colour(rng) + (rng.uniform(20, 150) * towards)[..., None]
    return shade


def _blown_up(size: int, rng: np.random.Generator) -> Plane:
    """A few squares of one colour on black."""
    squares = rng.random((6, 6)) > 0.6
    places = np.arange(size) * len(squares) // size
    return np.where(squares[np.ix_(places, places)][..., None], rng.uniform(0, 255, 3), 0.0)


def _cut_out(size: int, rng: np.random.Generator) -> Plane:
    """Something of a muted colour, with little texture and an edge like a cloud's, on white."""
    inside = _clouds(size, rng, fall=1.6) > rng.uniform(-0.5, 0.5)
    texture = 15 * _clouds(size, rng, fall=1)
    return np.where(inside[..., None], _muted_colour(rng) + texture[..., None], 255.0)


def _muted_colour(rng: np.random.Generator) -> Plane:
    colour: Plane = (rng.uniform(0, 255, 3) + rng.uniform(0, 255)) / 2
    return colour


def _clouds(size: int, rng: np.random.Generator, fall: float) -> Plane:
    """Noise of mean 0, deviation 1 and an amplitude of 1 / f^fall; in photos it is 1 / f (Field 1987)."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((size, size))) / frequency**fall
    plane: Plane = np.fft.irfft2(spectrum, (size, size))
    plane -= plane.mean()
    plane /= plane.std()
    return plane

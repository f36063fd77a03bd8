"""Near-duplicate images: copies that were compressed, resized, brightened, mirrored or slightly cropped.

Candidates have similar perceptual hashes: 64 signs of low frequencies (pHash; Zauner, Implementation and
Benchmarking of Perceptual Image Hash Functions, 2010). A candidate is a near-duplicate if the other
image, slightly shifted and scaled and with another contrast, explains nearly all of its detail: linear
regression on the image and its derivatives (Lucas & Kanade, An Iterative Image Registration Technique,
IJCAI 1981). The simpler an image is, the more must be explained: digits are alike without being copies.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from transfer_core.data.groups import DisjointSets, Edge

Thumbnails: TypeAlias = npt.NDArray[np.uint8]
Floats: TypeAlias = npt.NDArray[np.float32]
Numbers: TypeAlias = npt.NDArray[np.int64]

SIDE = 32
WIDTH = SIDE * SIDE + 2  # brightness of each pixel, mean blue and mean red difference
THUMBNAIL_VERSION = 1  # changes whenever the same pixels would give another thumbnail

# Chosen on the 338 pictures of the quickstart and on 1,797 handwritten digits (docs/guides/your_data.md).
_DIFFERENT_BITS = 16
_UNEXPLAINED = 0.0045
_MOST_CANDIDATES = 64
_OTHER_COLOR = (8.0, 0.6)  # levels, share of the stronger colour
_FLAT = 0.3  # levels of detail: less is one colour and rounding
_BLOCK, _CHUNK = 256, 4096


def thumbnail(pixels: npt.NDArray[np.uint8]) -> Thumbnails:
    """Compute the thumbnail (WIDTH,) of a square image (H, W, 3)."""
    image = Image.fromarray(pixels).reduce(max(1, len(pixels) // SIDE)).convert("YCbCr")
    small = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX))
    color = np.rint(small[:, :, 1:].mean(axis=(0, 1))).astype(np.uint8)
    return np.concatenate([small[:, :, 0].ravel(), color])


def near_images(thumbnails: Thumbnails, check: Callable[[], None]) -> list[Edge]:
    """Pairs that connect all near-duplicates of thumbnails (N, WIDTH); `check` raises on cancellation."""
    if len(thumbnails) < 2:
        return []
    codes, mirrored = _codes(thumbnails)
    details, complexity = _details(thumbnails)
    sets, edges = DisjointSets(len(codes)), []
    for start in range(0, len(codes), _BLOCK):
        check()
        for queries, flip in ((codes, False), (mirrored, True)):
            agreement = queries[start : start + _BLOCK] @ codes[: start + _BLOCK].T
            rows, others = _candidates(agreement, start)
            same = _same_color(thumbnails[rows, -2:], thumbnails[others, -2:])
            rows, others = rows[same], others[same]
            if not len(rows):
                continue
            unexplained = _unexplained(thumbnails, rows, flip, details[others])
            distances = unexplained / np.minimum(complexity[rows], complexity[others]) / _UNEXPLAINED
            for pair in np.flatnonzero(distances <= 1).tolist():
                first, second = int(others[pair]), int(rows[pair])
                if sets.find(first) != sets.find(second):
                    sets.unite(first, second)
                    edges.append(Edge(first, second, float(distances[pair])))
    return edges


def _candidates(agreement: Floats, start: int) -> tuple[Numbers, Numbers]:
    """Rows paired with earlier rows of similar hash, at most the `_MOST_CANDIDATES` most similar each."""
    similar = np.tril(agreement >= 64 - 2 * _DIFFERENT_BITS, start - 1)
    for row in np.flatnonzero(similar.sum(axis=1) > _MOST_CANDIDATES):
        found = np.flatnonzero(similar[row])
        similar[row, found[np.argsort(-agreement[row, found], kind="stable")[_MOST_CANDIDATES:]]] = False
    rows, others = np.nonzero(similar)
    return rows + start, others


def _unexplained(thumbnails: Thumbnails, rows: Numbers, flip: bool, targets: Floats) -> Floats:
    """Unexplained share, (P,), of each of `targets` (P, D) in the regression on its row's image or, with
    `flip`, on the mirror image."""
    different, which = np.unique(rows, return_inverse=True)
    smooth = _smooth(_brightness(thumbnails[different]))
    smooth = smooth[:, :, ::-1] if flip else smooth
    down, across = np.gradient(smooth, axis=(1, 2))
    fields = np.stack([smooth, across, down, _X * across, _Y * down], axis=1)
    sampled = _laplacian(fields)[..., ::2, ::2].reshape(*fields.shape[:2], -1)
    basis, _ = np.linalg.qr((sampled - sampled.mean(axis=2, keepdims=True)).swapaxes(1, 2))
    shares = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        explained = np.einsum("pdf,pd->pf", basis[which[chunk]], targets[chunk])
        shares[chunk] = 1 - (explained**2).sum(axis=1)
    return shares.clip(0, 1)


def _details(thumbnails: Thumbnails) -> tuple[Floats, Floats]:
    """Unit vectors of detail (N, D), and the effective number of frequencies (N,): the participation ratio of
    their power. Images of one colour have no detail and match no image."""
    vectors, ratios = [], []
    for start in range(0, len(thumbnails), _CHUNK):
        detail = _laplacian(_smooth(_brightness(thumbnails[start : start + _CHUNK])))
        power = (_WAVES @ detail @ _WAVES.T) ** 2
        ratio = power.sum(axis=(1, 2)) ** 2 / np.maximum((power**2).sum(axis=(1, 2)), 1e-12)
        ratio[detail.std(axis=(1, 2)) < _FLAT] = 1e-6
        ratios.append(ratio)
        vector = detail[:, ::2, ::2].reshape(len(detail), -1)
        vector = vector - vector.mean(axis=1, keepdims=True)
        vectors.append(vector / np.maximum(np.linalg.norm(vector, axis=1, keepdims=True), 1e-6))
    return np.concatenate(vectors), np.concatenate(ratios)


def _same_color(first: Thumbnails, second: Thumbnails) -> npt.NDArray[np.bool_]:
    one, other = (part.astype(np.float32) - 128 for part in (first, second))
    levels, share = _OTHER_COLOR
    allowed = np.maximum(levels, share * np.maximum(np.hypot(*one.T), np.hypot(*other.T)))
    same: npt.NDArray[np.bool_] = np.hypot(*(one - other).T) <= allowed
    return same


def _codes(thumbnails: Thumbnails) -> tuple[Floats, Floats]:
    """Perceptual hashes (N, 64) of the images, and of the images mirrored: 1 where a low frequency is above
    the median of its image, else -1."""
    waves = _cosines(SIDE)[1:9]
    parts = [thumbnails[start : start + _CHUNK] for start in range(0, len(thumbnails), _CHUNK)]
    found = np.concatenate([(waves @ _brightness(part) @ waves.T).reshape(-1, 64) for part in parts])
    # Mirroring flips the sign of odd row frequencies.
    signs = np.tile(np.where(np.arange(1, 9) % 2, np.float32(-1), np.float32(1)), 8)
    return _above_median(found), _above_median(found * signs)


def _above_median(values: Floats) -> Floats:
    return np.where(values > np.median(values, axis=1, keepdims=True), 1, -1).astype(np.float32)


def _brightness(thumbnails: Thumbnails) -> Floats:
    return thumbnails[:, :-2].reshape(-1, SIDE, SIDE).astype(np.float32)


def _smooth(images: Floats) -> Floats:
    return (_BLUR @ images @ _BLUR.T).astype(np.float32, copy=False)


def _laplacian(images: Floats) -> Floats:
    """Laplacian (…, SIDE - 4, SIDE - 4) without the border, which differs in cropped copies."""
    middle = images[..., 1:-1, 1:-1]
    beside = images[..., :-2, 1:-1] + images[..., 2:, 1:-1] + images[..., 1:-1, :-2] + images[..., 1:-1, 2:]
    inner: Floats = (beside - 4 * middle)[..., 1:-1, 1:-1]
    return inner


def _cosines(side: int) -> Floats:
    """Basis of the discrete cosine transform, (side, side)."""
    numbers = np.arange(side)
    waves: Floats = np.cos(np.pi / side * numbers[:, None] * (numbers + 0.5)).astype(np.float32)
    return waves


def _gaussian(deviation: float) -> Floats:
    places = np.arange(SIDE)
    weights = np.exp(-0.5 * ((places[:, None] - places) / deviation) ** 2)
    kernel: Floats = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return kernel


_WAVES = _cosines(SIDE - 4)[1:]
_BLUR = _gaussian(1.5)
_Y, _X = np.meshgrid(*[np.linspace(-1, 1, SIDE, dtype=np.float32)] * 2, indexing="ij")

"""Thumbnails for near-duplicate detection, made from images decoded for their embeddings."""

from __future__ import annotations

import hashlib
from functools import partial
from itertools import chain
from typing import TypeAlias

import numpy as np
import PIL

from transfer_core.backbones import Preprocessing
from transfer_core.cache import RowStore
from transfer_core.data import Dataset
from transfer_core.data.near_images import THUMBNAIL_VERSION, WIDTH, Thumbnails, thumbnail
from transfer_core.features.loading import load_batches
from transfer_core.features.pixels import PIXELS_VERSION, load_pixels
from transfer_core.runtime import paths
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.progress import Progress

# Thumbnails of images that were decoded in this training, by the digest of the image.
Seen: TypeAlias = dict[str, Thumbnails]

_AT_ONCE = 8


def thumbnails_of(
    dataset: Dataset, preprocessing: Preprocessing, seen: Seen, progress: Progress
) -> Thumbnails:
    """Return thumbnails (N, WIDTH) of the images of `dataset`: stored, in `seen`, or decoded now.

    An image that can't be decoded gets zeros, which match no other image.
    """
    store, owner = thumbnail_store(), thumbnail_owner(preprocessing)
    found = np.zeros((len(dataset), WIDTH), np.uint8)
    known = store.read(owner, dataset.digests, found)
    missing = [row for row in np.flatnonzero(~known).tolist() if dataset.digests[row] not in seen]
    if missing:
        loads = [partial(load_pixels, dataset.inputs[row], preprocessing) for row in missing]
        loaded = chain.from_iterable(load_batches(loads, _AT_ONCE))
        for row, pixels in zip(missing, progress.track(loaded, "freeze", len(loads), "images"), strict=True):
            if not isinstance(pixels, DataError):
                seen[dataset.digests[row]] = thumbnail(pixels)
    fresh = [row for row in np.flatnonzero(~known).tolist() if dataset.digests[row] in seen]
    if fresh:
        found[fresh] = [seen[dataset.digests[row]] for row in fresh]
        store.add(owner, [dataset.digests[row] for row in fresh], found[fresh])
    return found


def thumbnail_store() -> RowStore:
    """The store of thumbnails, in `TRANSFER_HOME`/cache/near_duplicates.sqlite."""
    return RowStore(paths.cache() / "near_duplicates.sqlite")


def thumbnail_owner(preprocessing: Preprocessing) -> str:
    """Identify everything that a thumbnail depends on except the image."""
    how = (THUMBNAIL_VERSION, PIXELS_VERSION, PIL.__version__, preprocessing)
    return hashlib.sha256(repr(how).encode()).hexdigest()

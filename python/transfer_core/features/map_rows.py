"""Rows of feature maps on disk: each view is computed once, and stored in the cache for later trainings."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from transfer_core.cache import cache_limit
from transfer_core.data.near_images import thumbnail
from transfer_core.features.boundary import DISK_SHARE
from transfer_core.features.box_views import BoxView
from transfer_core.features.frozen_maps import FrozenMaps, Rows
from transfer_core.features.last_decoded import LastDecoded
from transfer_core.features.parallel import map_on_cores
from transfer_core.features.pixels import Pixels, central_pixels
from transfer_core.features.store import FeatureStore
from transfer_core.features.thumbnails import Seen
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.paths import cache
from transfer_core.runtime.permissions import make_directory
from transfer_core.runtime.progress import Progress, Step

# Views that are computed and written at once.
_AT_ONCE = 64
# Share of the cache's limit that the rows of one training may take in it.
_STORED_SHARE = 0.25


class MapRows(Protocol):
    """Rows by number."""

    def read(self, numbers: Tensor) -> Tensor:
        """Rows (N, width) with these numbers."""


@dataclass(frozen=True)
class Reading:
    """Findings about photos while their views are loaded.

    Attributes
    ----------
    seen
        Thumbnails of whole photos by digest; None: not needed.
    bad
        Paths of photos that can't be decoded, with the reason; None: the first one raises.
    """

    seen: Seen | None
    bad: dict[str, str] | None


class RowsOfViews:
    """Rows of views, each computed once in a training.

    Parameters
    ----------
    store
        The cache of features, for later trainings; None if the backbone is not the published one.
    check
        Raises `DataError` if a file of a view has changed since its digest was taken.
    progress
        Progress events and cancellation.
    """

    def __init__(
        self, store: FeatureStore | None, check: Callable[[BoxView], None], progress: Progress
    ) -> None:
        self.store = store
        self._check = check
        self.progress = progress
        self._places: dict[tuple[str, str], tuple[MapRows, int]] = {}

    def rows(
        self, part: FrozenMaps, views: Sequence[BoxView], step: Step, reading: Reading | None = None
    ) -> MapRows:
        """Rows of `views`; those that are not known are computed.

        Where the disk has no room, they are computed again at each access. Rows of views that can't be loaded
        are undefined.

        Raises
        ------
        DataError
            If an image can't be decoded, or has changed.
        """
        places = [self._places.get((part.fingerprint, view.key)) for view in views]
        tables = {id(place[0]): place[0] for place in places if place}
        if len(tables) == 1 and None not in places:
            return _Selected(next(iter(tables.values())), [place[1] for place in places if place])
        unique = {view.key: view for view in views}
        table = self._compute(list(unique.values()), part, step, reading or Reading(None, None))
        self._places |= {(part.fingerprint, key): (table, number) for number, key in enumerate(unique)}
        return self.rows(part, views, step)

    def _compute(self, views: Sequence[BoxView], part: FrozenMaps, step: Step, reading: Reading) -> MapRows:
        size = len(views) * part.layout.width * part.dtype.itemsize
        store = self.store if is_stored(part, len(views)) else None
        chunks = self._chunks(views, part, store, step, reading)
        with suppress(OSError):
            make_directory(cache())
            if size <= DISK_SHARE * shutil.disk_usage(cache()).free:
                # Written, not mapped: a full disk raises OSError instead of a signal.
                with tempfile.TemporaryFile(dir=cache()) as file:
                    for chunk in chunks:
                        file.write(chunk.tobytes())
                    file.flush()
                    shape = (len(views), part.layout.width)
                    return _OnDisk(np.memmap(file, part.dtype, mode="r", shape=shape))
        return _Recomputed(views, part)

    def _chunks(
        self,
        views: Sequence[BoxView],
        part: FrozenMaps,
        store: FeatureStore | None,
        step: Step,
        reading: Reading,
    ) -> Iterator[Rows]:
        """Yield the rows of some views at a time."""
        for start in range(0, len(views), _AT_ONCE):
            some = views[start : start + _AT_ONCE]
            keys = [view.key for view in some]
            rows = np.empty((len(some), part.layout.width), part.dtype)
            known = store.read(part.fingerprint, keys, rows) if store else np.zeros(len(some), bool)
            missing = np.flatnonzero(~known)
            batches = (missing[i : i + part.batch_size] for i in range(0, len(missing), part.batch_size))
            compute = partial(self._batch, some, part, reading)
            good: list[int] = []
            for numbers, computed in map_on_cores(compute, batches):
                rows[numbers] = computed
                good += numbers
                self.progress.check()
            if store and good:
                store.add(part.fingerprint, [keys[number] for number in good], rows[good])
            yield rows
            self.progress.advance(step, start + len(some), len(views), "images")

    def _batch(
        self, views: Sequence[BoxView], part: FrozenMaps, reading: Reading, numbers: npt.NDArray[np.int64]
    ) -> tuple[list[int], Rows]:
        """Numbers and rows of the views that can be loaded."""
        loaded: dict[int, Pixels] = {}
        decoder = LastDecoded()
        for number in numbers.tolist():
            view = views[number]
            try:
                loaded[number] = view.load(part.image_size, part.preprocessing, decoder)
            except DataError as error:
                if reading.bad is None:
                    raise
                if len(view.photos) == 1:  # each photo has a view of its own
                    reading.bad[view.photos[0].path] = str(error)
                continue
            self._check(view)
            if reading.seen is not None and view.is_whole:
                photo = view.photos[0]
                image, _ = decoder(photo.path, longer_at_least=part.image_size)
                reading.seen[photo.digest] = thumbnail(central_pixels(image, part.preprocessing))
        rows = part.rows(list(loaded.values())) if loaded else np.empty((0, part.layout.width), part.dtype)
        return list(loaded), rows


def is_stored(part: FrozenMaps, views: int) -> bool:
    """Whether rows of this number of views go into the cache of features."""
    size = views * part.layout.width * part.dtype.itemsize
    return bool(part.layout.maps) and size <= _STORED_SHARE * cache_limit()


class _Selected:
    """Some rows of a table."""

    def __init__(self, table: MapRows, numbers: Sequence[int]) -> None:
        self._table = table
        self._numbers = torch.tensor(numbers)

    def read(self, numbers: Tensor) -> Tensor:
        """See `MapRows`."""
        return self._table.read(self._numbers[numbers])


class _OnDisk:
    """Rows of a file, which is gone with the process."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def read(self, numbers: Tensor) -> Tensor:
        """See `MapRows`."""
        return torch.from_numpy(self._rows[numbers.numpy()])


class _Recomputed:
    """Rows computed each time that they are read."""

    def __init__(self, views: Sequence[BoxView], part: FrozenMaps) -> None:
        self._views = views
        self._part = part

    def read(self, numbers: Tensor) -> Tensor:
        """See `MapRows`."""
        part = self._part
        views = [self._views[number] for number in numbers.tolist()]
        return torch.from_numpy(part.rows([view.load(part.image_size, part.preprocessing) for view in views]))

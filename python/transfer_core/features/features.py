"""Features of a data set: read from the store, or computed and stored."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
import numpy as np

from transfer_core.data import Dataset
from transfer_core.data.bad_input import bad_input, left_out
from transfer_core.data.fingerprint import check_unchanged
from transfer_core.data.near_images import thumbnail
from transfer_core.features.engines.engine import Array
from transfer_core.features.extractor import Extractor
from transfer_core.features.joint import JointExtractor
from transfer_core.features.loading import Load
from transfer_core.features.store import FeatureStore
from transfer_core.features.style import TargetStyle, ViewChange
from transfer_core.features.thumbnails import Seen
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.progress import Progress, Step

# Random views per image, beside the unchanged one, with a frozen backbone.
RANDOM_VIEWS = 3
_STORE_EVERY = 512


@dataclass(frozen=True)
class Views:
    """Views embedded of each input: the unchanged one, then `count` - 1 random ones."""

    augmentations: tuple[ViewChange, ...] = ()
    seed: int = 0

    @property
    def count(self) -> int:
        """Rows per image."""
        return 1 + RANDOM_VIEWS if self.augmentations else 1

    def key(self, digest: str, view: int) -> str:
        """The image's key in the feature store."""
        if view == 0:
            return digest
        kind = msgspec.json.encode((self.augmentations, self.seed, view), enc_hook=_identity)
        return f"{digest}-{hashlib.sha256(kind).hexdigest()[:16]}"

    def load(self, input: Any, digest: str, view: int, extractor: Extractor) -> Any:
        """Load one view for the backbone; the same input, seed and number give the same view."""
        if view == 0:
            return extractor.load(input)
        rng = np.random.default_rng([self.seed, view, int(digest[:16], 16)])
        return extractor.load_view(input, self.augmentations, rng)


def _identity(style: TargetStyle) -> object:
    return style.identity


@dataclass(frozen=True)
class Features:
    """`embeddings` of the readable inputs in the order of the data set, the views of each in succession;
    `bad` maps each unreadable input to the reason."""

    embeddings: Array
    bad: dict[Any, str]


def embed_dataset(
    dataset: Dataset,
    views_of: Sequence[int],
    views: Views,
    extractor: Extractor,
    store: FeatureStore | None,
    progress: Progress,
    step: Step = "freeze",
    on_bad_input: str = "raise",
    noun: str = "images",
    seen: Seen | None = None,
) -> Features:
    """Embed the first `views_of[i]` views of each input i, or read them from the store; thumbnails of images
    decoded for this are added to `seen`.

    Embeddings are stored as they are computed: a run that is stopped half-way keeps half of the work.

    Raises
    ------
    DataError
        For the first input that can't be read, unless `on_bad_input` is `skip`.
    """
    if isinstance(extractor, JointExtractor):
        how = (store, progress, step, on_bad_input, noun)
        first, *others = [
            embed_dataset(dataset, views_of, views, member, *how, None if place else seen)
            for place, member in enumerate(extractor.members)
        ]
        columns = [first.embeddings, *(other.embeddings for other in others)]
        return Features(np.concatenate(columns, axis=1), first.bad)
    store = store if extractor.fingerprint else None
    wanted = [
        (row, view, views.key(dataset.digests[row], view))
        for row, count in enumerate(views_of)
        for view in range(count)
    ]
    keys = [key for _, _, key in wanted]
    embeddings = np.empty((len(keys), extractor.width), np.float32)
    known = store.read(extractor.fingerprint, keys, embeddings) if store else np.zeros(len(keys), bool)
    places: dict[str, list[int]] = {}
    for place in np.flatnonzero(~known).tolist():
        places.setdefault(keys[place], []).append(place)
    missing = [wanted[first] for first, *_ in places.values()]
    loads = [partial(_load, dataset, row, views, view, extractor, seen) for row, view, _ in missing]
    inputs = [dataset.inputs[row] for row, _, _ in missing]
    reasons: dict[str, str] = {}
    with closing(_computed(list(places), inputs, loads, extractor, store, progress, step, noun)) as computed:
        for key, outcome in computed:
            if not isinstance(outcome, DataError):
                embeddings[places[key]] = outcome
            elif on_bad_input == "skip":
                reasons[key] = str(outcome)
            else:
                raise outcome
    if not reasons:
        return Features(embeddings, {})
    bad = {dataset.inputs[row]: reasons[key] for row, _, key in wanted if key in reasons}
    progress.warning(left_out(bad))
    return Features(embeddings[[dataset.inputs[row] not in bad for row, _, _ in wanted]], bad)


def _load(
    dataset: Dataset, row: int, views: Views, view: int, extractor: Extractor, seen: Seen | None
) -> Any:
    """Load a view of a file, after checking that the file is unchanged."""
    input, digest = dataset.inputs[row], dataset.digests[row]
    loaded = views.load(input, digest, view, extractor)
    if stamp := dataset.stamps.get(input):
        check_unchanged(input, stamp, digest)
    if seen is not None and view == 0:
        seen[digest] = thumbnail(loaded)
    return loaded


def _computed(
    keys: Sequence[str],
    inputs: Sequence[Any],
    loads: Sequence[Load],
    extractor: Extractor,
    store: FeatureStore | None,
    progress: Progress,
    step: Step,
    noun: str,
) -> Generator[tuple[str, Array | DataError], None, None]:
    """Yield each key with its embedding or its error; embeddings are stored some hundreds at a time, and at
    the end, also after an error."""
    unsaved: list[tuple[str, Array]] = []
    done = 0
    try:
        for batch in extractor.embed_all(loads):
            for number, outcome in _finite(batch, inputs, noun):
                if not isinstance(outcome, DataError):
                    unsaved.append((keys[number], outcome))
                yield keys[number], outcome
            done += len(batch)
            if store and len(unsaved) >= _STORE_EVERY:
                _save(unsaved, extractor, store)
                unsaved = []
            progress.advance(step, done, len(loads), noun)
    finally:
        if store and unsaved:
            _save(unsaved, extractor, store)


def _finite(
    batch: list[tuple[int, Array | DataError]], inputs: Sequence[Any], noun: str
) -> list[tuple[int, Array | DataError]]:
    """Replace embeddings that are not finite by errors."""
    rows = [outcome for _, outcome in batch if not isinstance(outcome, DataError)]
    if not rows or np.isfinite(np.stack(rows)).all():
        return batch
    reason = "its embedding has numbers that are not finite; are the weights damaged?"

    def checked(number: int, outcome: Array | DataError) -> Array | DataError:
        if isinstance(outcome, DataError) or np.isfinite(outcome).all():
            return outcome
        return bad_input(inputs[number] if noun == "images" else f"one of the {noun}", reason)

    return [(number, checked(number, outcome)) for number, outcome in batch]


def _save(rows: Sequence[tuple[str, Array]], extractor: Extractor, store: FeatureStore) -> None:
    embeddings = np.stack([row for _, row in rows])
    store.add(extractor.fingerprint, [key for key, _ in rows], embeddings)

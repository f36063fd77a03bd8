"""Find images that can't be decoded before expensive steps start."""

from __future__ import annotations

from functools import partial
from itertools import chain

from transfer_core.backbones.frozen import AnyBackbone
from transfer_core.data import Dataset
from transfer_core.data.bad_input import left_out
from transfer_core.data.near_images import thumbnail
from transfer_core.features.loading import load_batches
from transfer_core.features.pixels import load_pixels
from transfer_core.features.thumbnails import Seen
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.progress import Progress

_AT_ONCE = 8


def undecodable(
    dataset: Dataset, backbone: AnyBackbone, on_bad_input: str, progress: Progress, seen: Seen | None
) -> dict[str, str]:
    """Map the paths of images that can't be decoded for `backbone` to the reasons; add thumbnails of the
    others to `seen`.

    Raises
    ------
    DataError
        For the first of them, unless `on_bad_input` is `skip`.
    """
    if backbone.facts.modality != "image":
        return {}  # texts and rows are read already
    loads = [partial(load_pixels, path, backbone.preprocessing) for path in dataset.inputs]
    outcomes = progress.track(
        chain.from_iterable(load_batches(loads, _AT_ONCE)), "freeze", len(loads), "images"
    )
    bad: dict[str, str] = {}
    for path, digest, outcome in zip(dataset.inputs, dataset.digests, outcomes, strict=True):
        if isinstance(outcome, DataError):
            if on_bad_input != "skip":
                raise outcome
            bad[path] = str(outcome)
        elif seen is not None:
            seen[digest] = thumbnail(outcome)
    if bad:
        progress.warning(left_out(bad))
    return bad

"""Keep near-duplicate images on one side of the split, once they are decoded."""

from __future__ import annotations

from transfer_core.data import DataSplits, resplit
from transfer_core.data.near_images import near_images
from transfer_core.features.thumbnails import Seen, thumbnails_of
from transfer_core.pipeline.artifacts import Chosen
from transfer_core.runtime.progress import Progress


def apart(chosen: Chosen, seen: Seen, progress: Progress) -> DataSplits:
    """Split again if there are near-duplicates among the images of `chosen`."""
    splits = chosen.splits
    assert splits.pool
    thumbnails = thumbnails_of(splits.pool.data, chosen.backbone.preprocessing, seen, progress)
    edges = near_images(thumbnails, progress.check)
    return resplit(splits, edges, chosen.plan.recipe) if edges else splits

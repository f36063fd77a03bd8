"""Embed the parts of the data with the frozen backbone."""

from __future__ import annotations

from transfer_core.data import MODALITIES, Dataset
from transfer_core.distributed.embedding import fill
from transfer_core.features import Features, FeatureStore, Views, build_extractor, embed_dataset
from transfer_core.features.thumbnails import Seen, thumbnail_owner
from transfer_core.pipeline.artifacts import Chosen
from transfer_core.pipeline.views import view_changes
from transfer_core.recipe.augmentations import of_one_image
from transfer_core.runtime.allocator import releasing_memory
from transfer_core.runtime.progress import Progress, Step


def embed(
    chosen: Chosen,
    parts: list[tuple[Dataset, int]],
    store: FeatureStore | None,
    progress: Progress,
    seen: Seen | None = None,
) -> Features:
    """Embed datasets with the frozen backbone.

    Parameters
    ----------
    chosen
        The plan and the backbone.
    parts
        Each dataset with its number of views per input.
    store
        The feature cache; None if the backbone was fine-tuned.
    progress
        Progress events and cancellation.
    seen
        Collects thumbnails of decoded images. Default: none.

    Returns
    -------
    The embeddings of all parts, concatenated, and the inputs that can't be decoded.
    """
    recipe, machine = chosen.plan.recipe, chosen.machine
    extractor = build_extractor(chosen.backbone, machine.device, machine.precision, recipe.text)
    views_of = [views for part, views in parts for _ in range(len(part))]
    augmented = any(views > 1 for _, views in parts)
    views = Views(of_one_image(view_changes(chosen)) if augmented else (), recipe.seed)
    step: Step = "freeze" if store else "fine_tune"
    first, *rest = (part for part, _ in parts)
    dataset = first.joined(*rest)
    many = MODALITIES[chosen.backbone.facts.modality].many
    with releasing_memory():
        if store:
            owner = "" if seen is None else thumbnail_owner(chosen.backbone.preprocessing)
            fill(dataset, views_of, views, extractor, recipe, owner, many, progress)
        return embed_dataset(
            dataset,
            views_of,
            views,
            extractor,
            store,
            progress,
            step,
            recipe.on_bad_input,
            many,
            seen,
        )

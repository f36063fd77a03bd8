"""Random views of the training images of a recipe."""

from __future__ import annotations

from contextlib import suppress

from transfer_core.features import load_pixels
from transfer_core.features.style import TargetStyle, ViewChange
from transfer_core.pipeline.artifacts import Chosen
from transfer_core.recipe.augmentations import Style
from transfer_core.runtime.errors import DataError, Problem, RecipeError

# Images of the target domain whose style is drawn.
_REFERENCES = 64


def view_changes(chosen: Chosen) -> tuple[ViewChange, ...]:
    """The augmentations of the recipe, with the style of the target domain.

    Raises
    ------
    RecipeError
        If the target domain has no readable training images for its style.
    """
    augmentations = chosen.plan.recipe.augment or ()
    return tuple(_styled(chosen, one) if isinstance(one, Style) else one for one in augmentations)


def _styled(chosen: Chosen, style: Style) -> TargetStyle:
    splits, preprocessing = chosen.splits, chosen.backbone.preprocessing
    parts = [splits.train.take((~splits.train.from_source).nonzero()[0])]
    if splits.domains:
        parts.append(splits.domains.unlabelled)
    paths = {digest: path for part in parts for digest, path in zip(part.digests, part.inputs, strict=True)}
    images, digests = [], []
    for digest in sorted(paths)[:_REFERENCES]:
        with suppress(DataError):  # reported when all images are embedded
            images.append(load_pixels(paths[digest], preprocessing))
            digests.append(digest)
    if not images:
        message = 'style: the target domain has no training images. Fix: unlabelled: "…"'
        raise RecipeError([Problem("augment", message)])
    return TargetStyle(style, images, digests)

"""Compare two domains without a training: read both, embed them, and report their differences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias, TypeVar

import numpy as np

from transfer_core import backbones
from transfer_core.backbones.frozen import AnyBackbone
from transfer_core.data import MODALITIES, Row
from transfer_core.data.example import is_unlabelled
from transfer_core.data.source import SourceContext, read_source
from transfer_core.data.usable import Usable, keep_usable
from transfer_core.features import FeatureStore, Views, build_extractor, embed_dataset, fit_backbone
from transfer_core.features.fitted import must_be_fitted
from transfer_core.kinds.domain_report import DomainReport, report
from transfer_core.recipe.schema import Recipe, Source
from transfer_core.runtime.devices import choose_device
from transfer_core.runtime.errors import DataError, Problem, RecipeError
from transfer_core.runtime.progress import Progress
from transfer_core.runtime.temp_dir import spool_folder
from transfer_core.tasks import TASKS

T = TypeVar("T")
Sides: TypeAlias = tuple[list[T], list[T]]


def compare(
    recipe: Recipe, streams: Mapping[str, Iterable[Row]], progress: Progress = Progress()
) -> DomainReport:
    """Compare the domains `source` and `data` of a recipe; labels are used where there are some.

    Raises
    ------
    TransferError
        If a domain is missing, empty or can't be read, or the backbone is unknown.
    """
    rows, names, labels = embedded_domains(recipe, streams, progress)
    return report((np.stack(rows[0]), np.stack(rows[1])), names, labels, seed=recipe.seed)


def embedded_domains(
    recipe: Recipe, streams: Mapping[str, Iterable[Row]], progress: Progress
) -> tuple[Sides[Any], Sides[str], Sides[str | None]]:
    """Embed both domains: the embeddings, names and labels of the source, and of `data`."""
    if recipe.source is None:
        raise RecipeError([Problem("source", "is missing: the domain to compare the data with")])
    facts = backbones.facts(recipe.backbone, recipe.trust)
    modality = MODALITIES[facts.modality]
    progress.stage("choose", f"choose {recipe.backbone}")
    with spool_folder() as spool:
        context = SourceContext(modality, recipe.columns, streams, spool, progress, labels="optional")
        read = [_read(recipe, source, context) for source in (recipe.source, recipe.data)]
        together = read[0].data.joined(read[1].data)
        backbone: AnyBackbone = backbones.load(recipe.backbone, recipe.weights, progress, recipe.trust)
        if must_be_fitted(backbone):
            columns = read[0].examples[0].columns
            backbone = fit_backbone(backbone, together, columns, recipe.on_bad_input, recipe.seed, progress)
        progress.stage("freeze", f"embed {len(together)} {modality.many}")
        extractor = build_extractor(backbone, choose_device(recipe.device), recipe.precision, recipe.text)
        found = embed_dataset(
            together,
            [1] * len(together),
            Views(),
            extractor,
            FeatureStore(),
            progress,
            "freeze",
            recipe.on_bad_input,
            modality.many,
        )
    embeddings = iter(np.asarray(found.embeddings))
    rows: tuple[list[Any], list[Any]] = ([], [])
    names: tuple[list[str], list[str]] = ([], [])
    labels: tuple[list[str | None], list[str | None]] = ([], [])
    for side, usable in enumerate(read):
        for example in usable.examples:
            if example.input in found.bad:
                continue
            rows[side].append(next(embeddings))
            names[side].append(example.name)
            labels[side].append(None if is_unlabelled(example) else str(example.label))
    if min(map(len, rows)) < 2:
        counts = " and ".join(str(len(one)) for one in rows)
        raise DataError(f"each domain needs two readable {modality.many} (got {counts})")
    return rows, names, labels


def _read(recipe: Recipe, source: Source, context: SourceContext) -> Usable:
    """The usable inputs of one domain, without targets."""
    found = read_source(source, context).examples
    empty = np.zeros(len(found), np.float32)
    task = TASKS["regression"]  # none of whose targets contradict each other
    return keep_usable(found, task, (), empty, recipe.on_bad_input, context.modality, context.progress)

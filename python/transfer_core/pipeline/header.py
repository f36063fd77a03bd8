"""The header of the model file."""

from __future__ import annotations

import msgspec

from transfer_core.backbones.registry import sources
from transfer_core.model_file.format import BackboneSource, ModelHeader
from transfer_core.pipeline.artifacts import Chosen, Trained
from transfer_core.pipeline.data_summary import data_summary
from transfer_core.recipe.schema import to_plain
from transfer_core.runs import model_date
from transfer_core.runs.resume_check import data_fingerprint
from transfer_core.runtime.version import library_versions
from transfer_core.tasks import State


def header_of(chosen: Chosen, state: State, trained: Trained) -> ModelHeader:
    """The header without metrics and warnings."""
    task, splits, backbone = chosen.plan.task, chosen.splits, chosen.backbone
    is_image = backbone.facts.modality == "image"
    source = BackboneSource(
        name=backbone.facts.name,
        weights=backbone.weights.name if backbone.weights else "random",
        weights_digest=backbone.weights_digest,
        fine_tuned=trained.backbone_changed or chosen.plan.recipe.reuse is not None,
        facts=None if sources()[backbone.facts.source].published else msgspec.to_builtins(backbone.facts),
    )
    return ModelHeader(
        task=task.name,
        labels=splits.labels,
        state=msgspec.to_builtins(state),
        recipe=to_plain(chosen.plan.recipe),
        backbone=source,
        embedding_width=backbone.facts.embedding_width,
        modality=backbone.facts.modality,
        columns=splits.columns,
        preprocessing=msgspec.to_builtins(backbone.preprocessing) if is_image else {},
        metrics={},
        history=tuple(trained.history),
        data=data_summary(splits, trained),
        sizes={"train": len(splits.train), "valid": len(splits.valid), "test": len(splits.test)},
        versions=library_versions(),
        data_fingerprint=data_fingerprint(splits),
        created_at=model_date().isoformat(timespec="seconds"),
    )

"""The header of the model file."""

from __future__ import annotations

from typing import Any

import msgspec

from transfer_core.backbones.frozen import AnyBackbone
from transfer_core.backbones.joint.joint_backbone import JointBackbone
from transfer_core.backbones.registry import sources
from transfer_core.model_file.format import BackboneSource, ModelHeader
from transfer_core.model_file.header import Member
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
    base = chosen.base.header.backbone if chosen.base else None
    changed = trained.backbone_changed or chosen.plan.recipe.reuse is not None
    source = BackboneSource(
        **_origin(backbone),
        fine_tuned=base.fine_tuned if base else changed,
        members=_members(backbone) if isinstance(backbone, JointBackbone) else (),
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
        preprocessing=_preprocessing(backbone),
        metrics={},
        history=tuple(trained.history),
        data=data_summary(splits, trained),
        sizes={"train": len(splits.train), "valid": len(splits.valid), "test": len(splits.test)},
        versions=library_versions(),
        data_fingerprint=data_fingerprint(splits),
        created_at=model_date().isoformat(timespec="seconds"),
    )


def _origin(backbone: AnyBackbone) -> dict[str, Any]:
    published = sources()[backbone.facts.source].published
    return {
        "name": backbone.facts.name,
        "weights": backbone.weights.name if backbone.weights else "random",
        "weights_digest": backbone.weights_digest,
        "facts": None if published else msgspec.to_builtins(backbone.facts),
    }


def _members(backbone: JointBackbone) -> tuple[Member, ...]:
    return tuple(Member(**_origin(one), preprocessing=_preprocessing(one)) for one in backbone.members)


def _preprocessing(backbone: AnyBackbone) -> dict[str, Any]:
    is_image = backbone.facts.modality == "image"
    found: dict[str, Any] = msgspec.to_builtins(backbone.preprocessing) if is_image else {}
    return found
